"""What goes into an episode and what comes out: frozen records, no behaviour but their own bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from iterreason.errors import BadProblem

if TYPE_CHECKING:
    from iterreason.memory import Memory

MAX_QUESTION_CHARS = 4_000
MAX_CONTEXT_CHARS = 20_000
MAX_CHOICES = 26  # a letter for each
STOPPED_BY_PERSON = "stopped by a person"  # the stop reason of an episode that a person ended
ONLY_LOOKED = "a person only asked to look"  # the stop reason of an episode that was to conclude nothing

EvidenceKind = Literal["caption", "answer", "found", "told", "error"]
SettlingWay = Literal["answerer", "zoom", "reasoner"]


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its encoded bytes, held once and decoded only where a model needs pixels.

    sha256: of `data`, hexadecimal; equal hashes mean equal pixels.
    data: PNG, JPEG or WebP, upright, RGB, one frame; empty where only the hash is known (a replay).
    width, height: in pixels.
    """

    sha256: str
    width: int
    height: int
    media_type: str = "image/png"
    name: str = field(default="", compare=False)
    data: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Region:
    """A box in an image: fractions of its width and height in [0, 1], origin top-left."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 <= 1 and 0 <= self.y0 < self.y1 <= 1):
            raise BadProblem(f"a region needs 0 ≤ x0 < x1 ≤ 1 and 0 ≤ y0 < y1 ≤ 1, not {self}")


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A worked example shown before the problem (multimodal in-context learning)."""

    images: tuple[Image, ...]
    question: str
    answer: str
    rationale: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One or more images and a question about them.

    question: 1 to 4,000 characters.
    choices: none (an open question), or 2 to 26 answers, distinct after folding.
    context: text that comes with the images, at most 20,000 characters.
    Raises BadProblem where a bound is broken.
    """

    images: tuple[Image, ...]
    question: str
    choices: tuple[str, ...] = ()
    context: str = ""
    exemplars: tuple[Exemplar, ...] = ()
    id: str = ""

    def __post_init__(self) -> None:
        if not self.images:
            raise BadProblem("a problem needs at least one image")
        if not self.question.strip():
            raise BadProblem("the question is empty; ask something about the image")
        _at_most(self.question, MAX_QUESTION_CHARS, "question")
        _at_most(self.context, MAX_CONTEXT_CHARS, "context")
        if self.choices:
            _check_choices(self.choices)


def _at_most(text: str, limit: int, what: str) -> None:
    if len(text) > limit:
        raise BadProblem(f"the {what} has {len(text):,} characters; at most {limit:,} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadProblem(f"the {what} has a part that is no text: {text[:60]!r}; give it as UTF-8") from None


def _check_choices(choices: tuple[str, ...]) -> None:
    from iterreason.folding import fold

    if not 2 <= len(choices) <= MAX_CHOICES:
        raise BadProblem(f"choices must be 2 to {MAX_CHOICES}, not {len(choices)}: {list(choices)[:5]}")
    seen: dict[str, str] = {}
    for choice in choices:
        _at_most(choice, 1_000, "choice")
        folded = fold(choice)
        if not folded:
            raise BadProblem(f"choice {choice!r} is empty; name each choice")
        if folded in seen:
            raise BadProblem(f"choices {seen[folded]!r} and {choice!r} mean the same; keep one")
        seen[folded] = choice


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing learned from the image.

    number: 1-based position in the memory; what a verdict cites.
    answer: of kind `found`, what a tool read or found in the image, empty where that is nothing.
    probability: of `answer` given the image, in [0, 1]; None where the model gives none.
    model: which model said it, or `person`.
    round: in which round it was learned; 0 for the looks before the first.
    image: 0-based index into the problem's images.
    region: the box that was looked at; None for the whole image.
    """

    number: int
    kind: EvidenceKind
    question: str
    answer: str
    probability: float | None
    model: str
    round: int
    image: int = 0
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Retraction:
    """Withdraws the evidence with this number; the evidence itself stays in the memory."""

    number: int
    by: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two pieces of evidence that answer one question differently, about which one more question is put.

    one, other: their numbers. way: `answerer` (another one is asked), `zoom` (the same question, on a region) or
    `reasoner` (it is shown the contradiction and asks).
    """

    one: int
    other: int
    way: SettlingWay


@dataclass(frozen=True, slots=True)
class Resolution:
    """What came of a contradiction.

    prevailed: the number of the evidence that stands, `one` or `other`; None where it stays open.
    by: what decided: `[7]`, the evidence of that number, or `the verdict of round 3`.
    """

    one: int
    other: int
    prevailed: int | None
    by: str

    @property
    def told(self) -> str:
        """What `by` does, in words."""
        return f"speaks for [{self.prevailed}]" if self.prevailed else "leaves it open"


Entry = Evidence | Retraction | Contradiction | Resolution  # what a memory holds


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool and its typed arguments as JSON text, without image and region; `fault` says why it cannot be used."""

    tool: str
    arguments: str = "{}"
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A sub-question for the answerer, about one of the images (0-based); with `use`, something for a tool to do.

    text: what is asked, empty for a caption; of a tool's use, the use as it is shown.
    means: for answers that it may bring, which answer to the problem each speaks for; empty where that is not said.
    worth: how much it was expected to change the belief, in [0, 1]; None where that was not weighed.
    """

    text: str
    image: int = 0
    region: Region | None = None
    use: ToolUse | None = None
    means: tuple[tuple[str, str], ...] = ()
    worth: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer under consideration and its probability in [0, 1]; None before it is estimated."""

    answer: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reasoner concludes at the end of a round.

    answer: the answer it holds for now; None while it is not sure.
    belief: candidate answers with probabilities, most probable first; empty before any estimate.
    outside: probability mass that the estimate left outside the candidates; None where not measured.
    cites: numbers of the evidence that it rests on.
    missing: what it would still need to know.
    stated: the confidence that the model claims, in [0, 1]; None where absent or out of range.
    confidence: the policy's number for `answer`, in [0, 1]; None where nothing could be estimated.
    same_as: the earlier answer that the reasoner holds to mean the same as `answer`; None where there is none.
    dropped: the questions that it proposed and that were not worth their cost.
    concluded: what the reasoner itself concluded, where the answerer's own answer outweighs it (`combined`); else None.
    """

    answer: str | None
    rationale: str = ""
    cites: tuple[int, ...] = ()
    missing: str = ""
    questions: tuple[Question, ...] = ()
    stated: float | None = None
    belief: tuple[Candidate, ...] = ()
    outside: float | None = None
    confidence: float | None = None
    same_as: str | None = None
    dropped: tuple[Question, ...] = ()
    concluded: str | None = None

    @property
    def candidate(self) -> str | None:
        """The candidate that the verdict is for: its answer, or the earlier one that means the same."""
        return self.same_as or self.answer


@dataclass(frozen=True, slots=True)
class Round:
    """One round: its verdict, the numbers of the evidence found in it, and the stop rules that held at its end.

    estimated: False where the episode ended before the verdict's confidence was estimated.
    """

    number: int
    verdict: Verdict
    evidence: tuple[int, ...] = ()
    stops: tuple[str, ...] = ()
    estimated: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """What an episode cost.

    generations, readouts, reasks, looks: model calls by purpose.
    prompt_tokens, cached_tokens, completion_tokens: summed over the reasoner's calls and, where they count, the looks;
    `cached_tokens` are those of `prompt_tokens` that a prefix cache served.
    call_seconds: summed over calls; elapsed_seconds: on the wall, as the driver read it.
    """

    generations: int = 0
    readouts: int = 0
    reasks: int = 0
    looks: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    call_seconds: float = 0.0
    elapsed_seconds: float = 0.0

    @property
    def calls(self) -> int:
        """All model calls."""
        return self.generations + self.readouts + self.reasks + self.looks

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Weight:
    """What one piece of evidence weighed in the last verdict: what changes once it is withdrawn.

    weight: the answer's probability with it less that without it, in [-1, 1]; None where nothing scores the answer.
    answer: the answer without it. moved: whether that is another one; None where the model failed to say.
    """

    number: int
    weight: float | None
    answer: str | None
    moved: bool | None


@dataclass(frozen=True, slots=True)
class Attribution:
    """What each piece of evidence weighed, each left out once.

    by: `read-out` or `vote` (the candidates scored again) or `conclusion` (the verdict drawn again; no weights).
    reason: why there are no weights; empty where there are. usage: what it cost, apart from the episode's own.
    """

    weights: tuple[Weight, ...] = ()
    by: Literal["read-out", "vote", "conclusion", ""] = ""
    reason: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Result:
    """How an episode ended.

    answer: None when the policy abstains, or when the episode failed (`error` says why).
    confidence: in [0, 1], from `confidence_source`; None where nothing could be estimated. raw_confidence: what
        the estimator gave, where a calibrated policy turned that into a probability; else None.
    stop_reason: the rule that ended it, `budget: …`, or `error`.
    next_question: when it abstains, the question that would help most.
    attribution: what each piece of evidence weighed, where that was asked for; its calls are not in `usage`.
    """

    problem: Problem
    answer: str | None
    confidence: float | None
    confidence_source: str
    stop_reason: str
    rounds: tuple[Round, ...]
    memory: Memory
    usage: Usage
    policy: str
    policy_hash: str
    models: tuple[str, ...]
    reasoner_sees_image: bool = False
    raw_confidence: float | None = None
    next_question: str | None = None
    error: str | None = None
    attribution: Attribution | None = None

    @property
    def best_guess(self) -> str | None:
        """The last verdict's answer that there was, also when the policy abstains from giving it."""
        answers = [r.verdict.answer for r in self.rounds if r.verdict.answer is not None]
        return answers[-1] if answers else None

    @property
    def abstained(self) -> bool:
        """Whether the episode ended in order but its answer was not sure enough to give."""
        return self.answer is None and self.error is None and self.stop_reason != ONLY_LOOKED

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values (no pixels)."""
        from iterreason.display import result_json

        return result_json(self)

    def __str__(self) -> str:
        from iterreason.display import transcript

        return transcript(self)

    def __rich__(self) -> Any:
        from iterreason.display import rich_result

        return rich_result(self)

    def _repr_html_(self) -> str:
        from iterreason.display import html_result

        return html_result(self)
