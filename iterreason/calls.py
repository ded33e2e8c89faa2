"""What passes between the loop and the models: calls, replies, turns, events, notes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from iterreason.records import Contradiction, Evidence, Image, Question, Region, Resolution, Retraction, Verdict

Role = Literal["system", "user", "assistant"]
Purpose = Literal["generation", "readout", "reask", "look"]
DEADLINE = "deadline"  # the error of a call that the episode's time budget cut off
STOPPED = "stopped"  # the error of a call that a person cut off; its turn comes back with the note `Stopped`
CUT_OFF = (DEADLINE, STOPPED)


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # nothing in it refers to itself


def digest(*parts: Any) -> str:
    """The sha256 of some JSON values, hexadecimal, the same on every machine."""
    return sha256(_encode(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class View:
    """An image, or one region of it, shown to a model."""

    image: Image
    region: Region | None = None

    @property
    def identity(self) -> list[Any]:
        """What tells this view from others: pixel hash and box."""
        box = self.region
        return [self.image.sha256, box and [box.x0, box.y0, box.x1, box.y1]]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message: text and views, in order."""

    role: Role
    parts: tuple[str | View, ...]

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(p for p in self.parts if isinstance(p, str))

    @property
    def views(self) -> tuple[View, ...]:
        """The images in it."""
        return tuple(p for p in self.parts if isinstance(p, View))


@dataclass(frozen=True, slots=True)
class Prompt:
    """A list of messages that only grows: each message knows the prompt it was added to.

    digest: chained over the messages, so that hashing a longer prompt costs only what was added.
    """

    digest: str = ""
    length: int = 0
    parent: Prompt | None = field(default=None, repr=False, compare=False)
    message: Message | None = field(default=None, repr=False, compare=False)

    def plus(self, role: Role, *parts: str | View) -> Prompt:
        """This prompt and one more message."""
        identity = [p if isinstance(p, str) else p.identity for p in parts]
        return Prompt(digest(self.digest, role, identity), self.length + 1, self, Message(role, parts))

    def _nodes(self) -> Iterator[Prompt]:
        node = self
        while node.parent is not None:
            yield node
            node = node.parent

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, first to last."""
        return tuple(n.message for n in self._nodes() if n.message)[::-1]

    @property
    def digests(self) -> tuple[str, ...]:
        """The digest after each message, first to last."""
        return tuple(n.digest for n in self._nodes())[::-1]

    def starts_with(self, earlier: Prompt) -> bool:
        """Whether `earlier` is a prefix of this prompt."""
        return earlier.length == 0 or earlier.digest in self.digests


EMPTY_PROMPT = Prompt()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample a reply.

    temperature: ≥ 0; 0 is greedy. max_tokens: ≥ 1. n: samples wanted, ≥ 1. seed: None leaves it to the model.
    """

    temperature: float = 0.0
    max_tokens: int = 256
    n: int = 1
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """A look at an image: a question about it, or a caption where `question` is None.

    arguments: of a tool, as JSON text; empty for any other model.
    """

    view: View
    question: str | None = None
    arguments: str = ""

    @property
    def identity(self) -> list[Any]:
        """What tells this look from others."""
        return [self.view.identity, self.question, *([self.arguments] if self.arguments else [])]


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model.

    slot: the role it goes to: `reasoner`, `answerer:0`, `answerer:1`, …, `tool:ocr`, …
    prompt: the messages for a chat model; a look carries them too, so that a VLM can be the answerer.
    look: for models made for looking (VQA, captioning) and for tools; None for the reasoner's calls.
    schema: JSON schema (as text) that the reply must follow; empty for free text.
    choices: candidates to score; the reply's `scores` are aligned with them. For a read-out these are single
        letters; for a look, the answers to choose from.
    sample: tells apart calls that are otherwise the same and want independent samples.
    key: identifies the call over time and machines; replay and caches look it up.
    """

    slot: str
    purpose: Purpose
    prompt: Prompt
    look: Look | None = None
    sampling: Sampling = Sampling()
    schema: str = ""
    choices: tuple[str, ...] = ()
    sample: int = 0
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        look, s = self.look, self.sampling
        looked = look and look.identity
        sampling = [s.temperature, s.max_tokens, s.n, s.seed]
        key = digest(self.slot, self.prompt.digest, looked, sampling, self.schema, self.choices, self.sample)
        object.__setattr__(self, "key", key)

    def seed_of(self, number: int) -> int | None:
        """The seed of one of its samples (0-based), which depends on the call alone; None leaves it to the model."""
        if self.sampling.seed is None:
            return None
        return int(sha256(f"{self.key}/{number}".encode()).hexdigest()[:15], 16)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled text.

    logprobs: natural log-probability of each token; None where the model gives none.
    finish_reason: `stop`, `length`, or what the server says.
    """

    text: str
    logprobs: tuple[float, ...] | None = None
    finish_reason: str = "stop"

    @property
    def probability(self) -> float | None:
        """The probability of the whole text, in [0, 1]; None without log-probabilities."""
        return math.exp(min(0.0, sum(self.logprobs))) if self.logprobs else None

    @property
    def mean_logprob(self) -> float | None:
        """The mean log-probability of a token, which does not punish longer texts; None without log-probabilities."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one call; `cached` are those of `prompt` that a prefix cache served."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call: samples, or an error with its reason.

    scores: natural log-probability of each of the call's choices; None for one that the model did not report.
    seconds: of this call alone.
    """

    samples: tuple[Sample, ...] = ()
    scores: tuple[float | None, ...] = ()
    tokens: Tokens = Tokens()
    seconds: float = 0.0
    error: str | None = None

    @property
    def text(self) -> str:
        """The first sample's text; empty where there is none."""
        return self.samples[0].text if self.samples else ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do, as known before the first call.

    model: its name in results and traces; also part of the reply cache's key, so weights that differ must differ here.
    looks: answers `Look` requests. chats: answers message prompts.
    images: takes images in messages. schema: honours JSON schemas.
    logprobs: gives token log-probabilities. scores: scores `choices`.
    ranks: scores a look's choices as whole answers. holds: can be held to one of given texts.
    samples: gives several samples of one prompt at once.
    cached_tokens: tells how many of the prompt's tokens its prefix cache served.
    context_tokens: the longest prompt plus reply; None where unknown.
    """

    model: str
    chats: bool = True
    looks: bool = False
    images: bool = False
    schema: bool = False
    logprobs: bool = False
    scores: bool = False
    ranks: bool = False
    holds: bool = False
    samples: bool = False
    cached_tokens: bool = False
    context_tokens: int | None = None


# ------------------------------------------------------------------ events: what happened, for whoever watches


@dataclass(frozen=True, slots=True)
class RoundBegan:
    """A round starts (1-based)."""

    number: int


@dataclass(frozen=True, slots=True)
class QuestionsAsked:
    """The reasoner's new sub-questions of this round, before they are put to the answerer."""

    round: int
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """Something was added to the memory."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class EvidenceWithdrawn:
    """A person withdrew evidence."""

    retraction: Retraction


@dataclass(frozen=True, slots=True)
class ContradictionFound:
    """Two answers contradict each other; one more question is put to settle it."""

    contradiction: Contradiction


@dataclass(frozen=True, slots=True)
class ContradictionSettled:
    """What came of that question."""

    resolution: Resolution


@dataclass(frozen=True, slots=True)
class ReplyRejected:
    """A reply could not be read; the reasoner is asked once more, with this error shown to it."""

    round: int
    error: str


@dataclass(frozen=True, slots=True)
class VerdictReached:
    """The reasoner concluded, and the policy put its confidence to it."""

    round: int
    verdict: Verdict


Event = (
    RoundBegan
    | QuestionsAsked
    | EvidenceFound
    | EvidenceWithdrawn
    | ContradictionFound
    | ContradictionSettled
    | ReplyRejected
    | VerdictReached
)


# ------------------------------------------------------------------ notes: what a person says into a running episode


@dataclass(frozen=True, slots=True)
class Told:
    """A fact that the person adds to the memory."""

    fact: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A sub-question that the person wants put to the answerer in the next look."""

    question: Question


@dataclass(frozen=True, slots=True)
class Vetoed:
    """Evidence (by number) that the person withdraws."""

    number: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A region that the person wants described in the next look."""

    region: Region
    image: int = 0


@dataclass(frozen=True, slots=True)
class Stopped:
    """The person wants the best verdict so far, now."""


Note = Told | Asked | Vetoed | Looked | Stopped


# ------------------------------------------------------------------ turns


@dataclass(frozen=True, slots=True)
class Turn:
    """What the loop wants done next: independent calls, to be made at once; and what has happened since the last turn.

    seconds_left: of the episode's time budget; None without one. Calls still running then come back with the error
        `deadline`. A turn without calls only tells its events.
    """

    calls: tuple[Call, ...]
    events: tuple[Event, ...] = ()
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of a turn: a reply for each call, in order; wall seconds as the driver read them; a person's notes."""

    replies: tuple[Reply, ...]
    elapsed: float = 0.0
    notes: tuple[Note, ...] = ()
