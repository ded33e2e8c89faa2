"""What one episode keeps while it runs, and the one place where it hands calls out."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from iterreason import calls
from iterreason.calls import Call, Event, Prompt, Reply, Returned, Turn
from iterreason.confidence import pooled
from iterreason.errors import BadProblem
from iterreason.memory import EMPTY, Memory
from iterreason.plan import Plan
from iterreason.policy import Policy
from iterreason.records import (
    STOPPED_BY_PERSON,
    Candidate,
    Contradiction,
    Evidence,
    EvidenceKind,
    Problem,
    Question,
    Resolution,
    Result,
    Retraction,
    Round,
    Usage,
    Verdict,
)
from iterreason.stopping import abstains_below, over_budget

T = TypeVar("T")
_NOTHING: Mapping[str, Any] = MappingProxyType({})  # one for all episodes: there are many in flight
Steps = Generator[Turn, Returned, T]

_COUNTED = {"generation": "generations", "readout": "readouts", "reask": "reasks", "look": "looks"}


class Ended(Exception):
    """The episode ends here: out of budget, stopped by a person, or with an error."""

    def __init__(self, reason: str, error: str | None = None) -> None:
        self.reason, self.error = reason, error


class NotRead(Ended):
    """The reasoner's reply could not be read, nor the one to which it was shown."""

    def __init__(self, fault: str) -> None:
        super().__init__("error", f"the reasoner's reply could not be read, twice: {fault}")


@dataclass(frozen=True, slots=True)
class Direct:
    """What one answerer says to the question itself: evidence with this number, its weight, its own candidates."""

    number: int
    weight: float
    candidates: tuple[Candidate, ...]


@dataclass(slots=True)
class State:
    """The working state of one episode.

    prompt: the conversation with the reasoner so far; rendered: the memory as far as it is in there.
    prompt_tokens: of the conversation, as the last reply told, its own tokens included.
    directs: what the answerers say to the question itself.
    wanted: looks that a person asked for. settling: how many contradictions a question was put about.
    samples: the verdicts that are counted as votes. measured: read-outs of `entailment`, by prompt.
    shown: captions of the exemplars' images, by hash.
    ending: why no further call may be made.
    """

    problem: Problem
    plan: Plan
    memory: Memory
    seed: int | None
    number: int = 0
    rounds: list[Round] = field(default_factory=list)
    usage: Usage = Usage()
    events: list[Event] = field(default_factory=list)
    prompt: Prompt = calls.EMPTY_PROMPT
    prompt_tokens: int = 0
    rendered: Memory = EMPTY
    directs: tuple[Direct, ...] = ()
    wanted: tuple[Question, ...] = ()
    settling: int = 0
    ending: str | None = None
    samples: tuple[Verdict, ...] = ()
    measured: Mapping[str, float | None] = field(default_factory=lambda: _NOTHING)
    shown: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    @property
    def policy(self) -> Policy:
        """The policy that the episode follows."""
        return self.plan.policy

    @property
    def direct(self) -> tuple[Candidate, ...]:
        """What the answerers, asked the question itself, come to together."""
        return pooled([(said.weight, said.candidates) for said in self.directs], self.plan.same)

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts so far."""
        return [r.verdict for r in self.rounds]

    # -------------------------------------------------------------- handing out calls

    def make(self, wanted: Sequence[Call]) -> Steps[tuple[Reply, ...]]:
        """Have the calls made, all at once; raises Ended where the budget or a person has ended the episode.

        What came of the last calls before the end is still taken in.
        """
        if over := self.ending or over_budget(self.policy.budget, self.usage, len(wanted)):
            raise Ended(over)
        seconds = self.policy.budget.seconds
        left = None if seconds is None else seconds - self.usage.elapsed_seconds
        returned = yield Turn(tuple(wanted), self.take_events(), left)
        self._account(wanted, returned)
        stopped = [self._heed(note) for note in returned.notes]
        if any(reply.error == calls.DEADLINE for reply in returned.replies):
            self.ending = "budget: seconds"
        elif any(stopped):
            self.ending = STOPPED_BY_PERSON
        return returned.replies

    def take_events(self) -> tuple[Event, ...]:
        """The events since the last turn."""
        events, self.events = tuple(self.events), []
        return events

    def _account(self, made: Sequence[Call], returned: Returned) -> None:
        counts = {name: getattr(self.usage, name) for name in _COUNTED.values()}
        for call in made:
            counts[_COUNTED[call.purpose]] += 1
        prompt = cached = completion = 0
        seconds = 0.0
        for reply in returned.replies:
            tokens = reply.tokens
            prompt, cached, completion = prompt + tokens.prompt, cached + tokens.cached, completion + tokens.completion
            seconds += reply.seconds
        usage = self.usage
        self.usage = Usage(
            **counts,
            prompt_tokens=usage.prompt_tokens + prompt,
            cached_tokens=usage.cached_tokens + cached,
            completion_tokens=usage.completion_tokens + completion,
            call_seconds=usage.call_seconds + seconds,
            elapsed_seconds=usage.elapsed_seconds + returned.elapsed,
        )

    def _heed(self, note: calls.Note) -> bool:
        """Take in what a person says; true where the episode is to stop."""
        if isinstance(note, calls.Told):
            self.add("told", "", note.fact, None, "person")
        elif isinstance(note, calls.Asked):
            self._want(note.question)
        elif isinstance(note, calls.Looked):
            self._want(Question("", note.image, note.region))
        elif isinstance(note, calls.Vetoed):
            self._withdraw(note.number)
        return isinstance(note, calls.Stopped)

    def is_direct(self, number: int) -> bool:
        """Whether the evidence with this number is an answer to the question itself."""
        return any(said.number == number for said in self.directs)

    def _want(self, question: Question) -> None:
        if not 0 <= question.image < len(self.problem.images):
            count = len(self.problem.images)
            raise BadProblem(f"there is no image {question.image + 1}; the problem has {count}")
        self.wanted += (question,)

    def _withdraw(self, number: int) -> None:
        if 1 <= number <= len(self.memory) and number not in self.memory.withdrawn:
            retraction = Retraction(number, "person")
            self.memory = self.memory.plus(retraction)
            self.directs = tuple(said for said in self.directs if said.number != number)
            self.events.append(calls.EvidenceWithdrawn(retraction))

    # -------------------------------------------------------------- what happens in a round

    def begin(self, number: int) -> None:
        """Start a round."""
        self.number = number
        self.events.append(calls.RoundBegan(number))

    def add(
        self,
        kind: EvidenceKind,
        question: str,
        answer: str,
        probability: float | None,
        model: str,
        at: Question | None = None,
    ) -> Evidence:
        """Append evidence to the memory and return it; `at` says which image and region it is about."""
        image, region = (at.image, at.region) if at else (0, None)
        number = self.memory.next_number
        found = Evidence(number, kind, question, answer, probability, model, self.number, image, region)
        self.memory = self.memory.plus(found)
        self.events.append(calls.EvidenceFound(found))
        return found

    def contradicted(self, contradiction: Contradiction) -> None:
        """Note that one more question is put about a contradiction."""
        self.settling += 1
        self.memory = self.memory.plus(contradiction)
        self.events.append(calls.ContradictionFound(contradiction))

    def settled(self, resolution: Resolution) -> None:
        """Note what came of a contradiction."""
        self.memory = self.memory.plus(resolution)
        self.events.append(calls.ContradictionSettled(resolution))

    def close(self, verdict: Verdict, *, estimated: bool = True) -> str | None:
        """End a round with its verdict; gives the reason to stop, if a rule holds."""
        so_far = [*self.verdicts, verdict]
        held = tuple(why for rule in self.plan.rules if (why := rule(so_far, self.memory)) is not None)
        found = tuple(e.number for e in self.memory.evidence if e.round == self.number)
        self.rounds.append(Round(self.number, verdict, found, held, estimated))
        if self.policy.rounds.conclude == "each" or self.number == self.policy.rounds.max:
            self.events.append(calls.VerdictReached(self.number, verdict))
        may_stop = self.number >= self.policy.rounds.min and not self.wanted and not self.plan.all_rounds
        return held[0] if held and may_stop else None

    def _standing_verdict(self) -> Verdict:
        """The last verdict; where the end came before its confidence was estimated, the last that has one."""
        if not self.rounds:
            return Verdict(None)
        last = self.rounds[-1].verdict
        if self.rounds[-1].estimated:
            return last
        return next((r.verdict for r in reversed(self.rounds) if r.estimated), last)

    def _worth(self, sure: float | None) -> tuple[float | None, float | None]:
        """A confidence as the probability that a calibrated policy makes of it, and then itself; else itself alone."""
        rule = self.policy.calibrated
        if sure is None or rule is None or rule.probability is None:
            return sure, None
        return rule.probability.of(sure), sure

    def result(self, reason: str, error: str | None) -> Result:
        """The episode's result: the last verdict's answer, unless it failed or is not sure enough."""
        verdict = self._standing_verdict()
        sure, needed = verdict.confidence, abstains_below(self.policy)
        gives = error is None and (needed == 0 or (sure is not None and sure >= needed))
        answer = verdict.answer if gives else None
        abstains = answer is None and error is None
        confidence, raw = (None, None) if error else self._worth(sure)
        return Result(
            problem=self.problem,
            answer=answer,
            confidence=confidence,
            raw_confidence=raw,
            confidence_source=self.plan.confidence,
            stop_reason=reason,
            rounds=tuple(self.rounds),
            memory=self.memory,
            usage=self.usage,
            policy=self.plan.named.name,
            policy_hash=self.plan.named.hash,
            models=self.plan.models,
            reasoner_sees_image=self.plan.sees_image,
            next_question=_best_question(verdict) if abstains else None,
            error=error,
        )


def _best_question(verdict: Verdict) -> str | None:
    """What would help most: the reasoner's first open question, else what it says is missing."""
    return next((q.text for q in verdict.questions), verdict.missing or None)
