"""A session as a value: images, what is known about them, what was asked; every step gives a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from iterreason.chat.tuned import PolicyChoice
from iterreason.errors import BadProblem, Misuse
from iterreason.memory import EMPTY, Memory
from iterreason.prompts import one_line
from iterreason.records import (
    MAX_QUESTION_CHARS,
    STOPPED_BY_PERSON,
    Evidence,
    Image,
    Problem,
    Result,
    Retraction,
    Usage,
)

View = tuple[int, ...]  # indices of the images in view
_REMEMBERED = 6  # exchanges that a follow-up's context quotes


@dataclass(frozen=True, slots=True)
class Models:
    """The models' URIs as a person named them; None leaves the choice to environment, config file and default."""

    reasoner: str | None = None
    answerers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and what came of it; `view` says about which images."""

    question: str
    result: Result
    view: View
    only_looked: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Where a session stands.

    images: in the order in which they came. paths: where each was read from. view: which of them are asked about.
    memories: what is known, by view; evidence is numbered from 1 in each.
    open_question: what the person is asked, where the policy abstained and `ask_me` is on.
    before: the session before the last step; None at its start.
    """

    images: tuple[Image, ...] = ()
    paths: tuple[str, ...] = ()
    view: View = ()
    memories: Mapping[View, Memory] = field(default_factory=dict)
    exchanges: tuple[Exchange, ...] = ()
    policy: PolicyChoice = PolicyChoice()
    models: Models = Models()
    ask_me: bool = False
    open_question: str | None = None
    before: Session | None = field(default=None, repr=False, compare=False)

    # -------------------------------------------------------------- what there is

    @property
    def viewed(self) -> tuple[Image, ...]:
        """The images in view."""
        return tuple(self.images[place] for place in self.view)

    @property
    def memory(self) -> Memory:
        """What is known about the images in view; for a new view, what others know about its images."""
        return self.memories[self.view] if self.view in self.memories else self._carried_over()

    def _carried_over(self) -> Memory:
        memory = EMPTY
        for view, known in self.memories.items():
            for e in known.standing:
                if view[e.image] in self.view:
                    at = self.view.index(view[e.image])
                    memory = memory.plus(replace(e, number=memory.next_number, image=at, round=0))
        return memory

    @property
    def reasoned(self) -> tuple[Exchange, ...]:
        """The exchanges about these images that were reasoned about, not only looked."""
        return tuple(e for e in self.exchanges if e.view == self.view and not e.only_looked)

    @property
    def last(self) -> Exchange | None:
        """The last question reasoned about, with these images in view."""
        return self.reasoned[-1] if self.reasoned else None

    @property
    def usage(self) -> Usage:
        """What all exchanges cost together."""
        names = Usage.__dataclass_fields__
        return Usage(**{n: sum(getattr(e.result.usage, n) for e in self.exchanges) for n in names})

    def problem(self, question: str) -> Problem:
        """A question about the images in view, with what was said before as its context. Raises BadProblem."""
        if len(question) > MAX_QUESTION_CHARS:
            raise BadProblem(
                f"the question has {len(question):,} characters; at most {MAX_QUESTION_CHARS:,} are allowed"
            )
        said = [f"Q: {one_line(e.question)} A: {one_line(_answer(e.result))}" for e in self.reasoned[-_REMEMBERED:]]
        before = [line for line, e in zip(said, self.reasoned[-_REMEMBERED:], strict=True) if e.question != question]
        return Problem(self.viewed, question, context="Asked before. " + " ".join(before) if before else "")

    # -------------------------------------------------------------- steps

    def step(self, **changes: object) -> Session:
        """This session with something changed, the present one kept for `undo`."""
        return replace(self, before=self, **changes)  # type: ignore[arg-type]  # its own fields, by name

    def with_memory(self, memory: Memory, **changes: object) -> Session:
        """A step after which this is known about the images in view."""
        return self.step(memories={**self.memories, self.view: memory}, **changes)

    def told(self, fact: str) -> Session:
        """With a fact of the person's own."""
        number = self.memory.next_number
        return self.with_memory(self.memory.plus(Evidence(number, "told", "", fact, None, "person", 0)))

    def vetoed(self, number: int) -> Session:
        """With evidence withdrawn; raises Misuse where there is none to withdraw."""
        check_number(self.memory, number)
        return self.with_memory(self.memory.plus(Retraction(number, "person")))

    def with_image(self, image: Image, path: str) -> Session:
        """With an image added, and alone in view; one that is there already is switched to."""
        known = next((place for place, other in enumerate(self.images) if other.sha256 == image.sha256), None)
        if known is not None:
            return self.viewing((known,))
        return self.step(
            images=(*self.images, image), paths=(*self.paths, path), view=(len(self.images),), open_question=None
        )

    def viewing(self, view: View) -> Session:
        """With these images in view."""
        return self.step(view=view, open_question=None) if view != self.view else self

    def answered(self, exchange: Exchange) -> Session:
        """With a question's result, and all that was learned on the way."""
        result = exchange.result
        wanted = wants_to_know(result) if self.ask_me and not exchange.only_looked else None
        return self.with_memory(result.memory, exchanges=(*self.exchanges, exchange), open_question=wanted)

    def undone(self) -> Session:
        """As it was before the last step; raises Misuse at the start."""
        if self.before is None:
            raise Misuse("there is nothing to take back")
        return self.before


def check_number(memory: Memory, number: int) -> None:
    """Raise Misuse where a memory holds no such evidence, or it was withdrawn already."""
    if not 1 <= number <= len(memory):
        raise Misuse(f"there is no evidence {number}; /memory shows what there is ({len(memory)} so far)")
    if number in memory.withdrawn:
        raise Misuse(f"evidence {number} was withdrawn already")


def wants_to_know(result: Result) -> str | None:
    """What a person is asked where the policy abstains; None where it does not, or was stopped."""
    if not result.abstained or result.stop_reason == STOPPED_BY_PERSON:
        return None
    return result.next_question or result.problem.question


def _answer(result: Result) -> str:
    if result.answer is not None:
        return result.answer
    return f"not sure, perhaps {result.best_guess}" if result.best_guess else "no answer"
