"""Does the answer move when the image does? The same question about a blank, another and a cropped image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from iterreason.calls import View
from iterreason.errors import Misuse
from iterreason.images import decode, load_image
from iterreason.memory import SameText
from iterreason.records import Image, Problem, Region, Result

Variant = Literal["blank", "swap", "crop"]
CENTRE = Region(0.25, 0.25, 0.75, 0.75)


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of one variant of the image.

    answer: its best guess, also where it abstains; None where there is none. moved: whether that is another answer than
    with the image as it is; None where either episode failed, or the first held no answer.
    """

    variant: Variant
    answer: str | None
    given: bool
    confidence: float | None
    moved: bool | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer with the image as it is, and with each variant."""

    result: Result
    variants: tuple[Probed, ...]

    @property
    def moved_by_image(self) -> bool | None:
        """Whether a blank or another image moves the answer; a crop may keep all that matters, so it does not count."""
        told = [v.moved for v in self.variants if v.variant != "crop" and v.moved is not None]
        return any(told) if told else None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        guess = {"answer": self.result.best_guess, "given": self.result.answer is not None}
        return {
            "question": self.result.problem.question,
            "original": guess | {"confidence": self.result.confidence, "error": self.result.error},
            "variants": [asdict(v) for v in self.variants],
            "moved_by_image": self.moved_by_image,
        }


def varied(problem: Problem, swap: Sequence[Image] = ()) -> dict[Variant, Problem]:
    """The same problem about a blank image, another one and the middle of its own; `swap` without images: no swap.

    swap: as many images as the problem has, or one for all. Raises Misuse.
    """
    if len(swap) > 1 and len(swap) != len(problem.images):
        raise Misuse(f"{len(swap)} images to swap in for {len(problem.images)}; name one, or as many")
    others = tuple(swap) if len(swap) > 1 else tuple(swap) * len(problem.images)
    if any(image.sha256 == other.sha256 for image, other in zip(problem.images, others, strict=False)):
        raise Misuse("the image to swap in is the image itself; name another")
    made: dict[Variant, Problem] = {"blank": replace(problem, images=tuple(blank(i) for i in problem.images))}
    if others:
        made["swap"] = replace(problem, images=others)
    made["crop"] = replace(problem, images=tuple(cropped(i) for i in problem.images))
    return made


def blank(image: Image) -> Image:
    """An image of the same size in one colour, the mean of all its pixels."""
    from PIL import Image as Pixels

    picture = decode(View(image))
    mean = picture.resize((1, 1), Pixels.Resampling.BOX).getpixel((0, 0))
    return replace(load_image(Pixels.new("RGB", picture.size, mean)), name=f"{image.name} blank".strip())


def cropped(image: Image) -> Image:
    """The middle of an image, half as wide and half as high."""
    return replace(load_image(decode(View(image, CENTRE))), name=f"{image.name} middle".strip())


def compared(variants: Iterable[Variant], results: Sequence[Result], same: SameText) -> Probe:
    """What the results come to: of the problem itself, then of each variant."""
    result, *others = results
    judged = (_judged(result, variant, other, same) for variant, other in zip(variants, others, strict=True))
    return Probe(result, tuple(judged))


def _judged(result: Result, variant: Variant, other: Result, same: SameText) -> Probed:
    """Whether the variant's answer is another one."""
    before, after = result.best_guess, other.best_guess
    failed = result.error is not None or other.error is not None or before is None
    moved = None if failed else after is None or not same(before or "", after)
    return Probed(variant, after, other.answer is not None, other.confidence, moved, other.error)
