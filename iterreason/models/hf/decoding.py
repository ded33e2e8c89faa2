"""Token by token with `generate`, and what the model itself gave each token: before grammar, temperature or choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import GenerationConfig

from iterreason.calls import Call, Sample
from iterreason.models.dice import Drawing, dice_of

T = TypeVar("T")
Dice = tuple[float, torch.Generator | None]  # a row's temperature, and its random numbers where it is not greedy


class Abandoned(Exception):
    """Nobody waits for this batch any more."""


@dataclass(frozen=True, slots=True)
class Written:
    """A row's tokens up to its end, that included, with the log-probability of each."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: str

    def sample(self, tokenizer: Any) -> Sample:
        """As a sample of a reply."""
        return Sample(tokenizer.decode(self.tokens, skip_special_tokens=True).strip(), self.logprobs, self.finish)


def only_greedy(model: Any) -> None:
    """Clear a checkpoint's habits of sampling and of penalties: the next token is the model's most probable one."""
    own = model.generation_config
    kept = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    model.generation_config = GenerationConfig(**{name: getattr(own, name, None) for name in kept})


class Recorder:
    """A logits processor that leaves scores as they are and notes the log-probabilities of what was then chosen.

    Those of all tokens at all steps would take gigabytes; only the last step's are kept whole.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._found: list[Tensor] = []
        self._last: Tensor | None = None

    def __call__(self, tokens: Tensor, scores: Tensor) -> Tensor:
        """Note what the last step chose."""
        self._note(tokens)
        self.steps += 1
        self._last = scores.float().log_softmax(-1)
        return scores

    def _note(self, tokens: Tensor) -> None:
        if self._last is not None:
            self._found.append(self._last.gather(-1, tokens[:, -1:].to(self._last.device)))

    @property
    def last(self) -> Tensor:
        """Log-probabilities of the last step (rows, tokens)."""
        assert self._last is not None, "generate takes at least one step"
        return self._last

    def logprobs(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of the chosen tokens (rows, steps), given all tokens in the end."""
        self._note(tokens)
        self._last = None
        return torch.cat(self._found, dim=1)


@torch.inference_mode()
def decode(
    model: Any,
    inputs: dict[str, Any],
    dice: Sequence[Dice],
    max_tokens: int,
    ends: Sequence[int],
    *,
    constraints: Sequence[Any] = (),
    abandoned: Callable[[], bool] = lambda: False,
) -> list[Written]:
    """Write each row to its end: the most probable next token, or one drawn where there are dice.

    inputs: of the rows, as `generate` takes them. ends: token ids of which any ends a row.
    constraints: logits processors that may forbid tokens. Raises Abandoned.
    """
    recorder = Recorder()

    def leave(tokens: Tensor, scores: Tensor, **_: Any) -> Tensor:
        if abandoned():
            raise Abandoned("nobody waits for this any more")
        return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

    tokens = model.generate(
        **inputs,
        generation_config=GenerationConfig(
            max_new_tokens=max_tokens, do_sample=False, num_beams=1, eos_token_id=list(ends), pad_token_id=ends[0]
        ),
        logits_processor=[recorder, *constraints, Drawing(list(dice))],
        stopping_criteria=[leave],
    )
    logprobs = recorder.logprobs(tokens)
    chosen = tokens[:, tokens.shape[1] - recorder.steps :]
    return [until_end(*row, ends) for row in zip(chosen.tolist(), logprobs.tolist(), strict=True)]


def until_end(tokens: Sequence[int], logprobs: Sequence[float], ends: Sequence[int]) -> Written:
    """Cut a row at its first end token, which counts; what follows is padding."""
    stops = (place for place, token in enumerate(tokens) if token in ends)
    end = next(stops, None)
    length = len(tokens) if end is None else end + 1
    return Written(tuple(tokens[:length]), tuple(logprobs[:length]), "length" if end is None else "stop")


def rows_of(calls: Sequence[Call]) -> list[tuple[int, Dice]]:
    """Each sample of each call as a row: the call's place, and the sample's temperature and dice."""
    return [
        (place, (call.sampling.temperature, dice_of(call, number)))
        for place, call in enumerate(calls)
        for number in range(call.sampling.n)
    ]


def in_parts(items: Sequence[T], most: int, work: Callable[[Sequence[T]], list[Any]]) -> list[Any]:
    """Do the work on at most so many items at once, on fewer where the memory does not suffice."""
    made: list[Any] = []
    for start in range(0, len(items), most):
        part = items[start : start + most]
        try:
            made += work(part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            torch.cuda.empty_cache()
            made += in_parts(part, (len(part) + 1) // 2, work)
    return made
