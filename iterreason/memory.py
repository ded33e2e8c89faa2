"""The visual-cognition memory: what was learned from the image, only ever appended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from iterreason.folding import same_text
from iterreason.records import Contradiction, Entry, Evidence, Question, Resolution, Retraction

SameText = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Memory:
    """Evidence and what was said of it later, in the order in which it came; adding gives a new memory."""

    entries: tuple[Entry, ...] = ()

    def plus(self, *entries: Entry) -> Memory:
        """This memory and what came after it."""
        return Memory(self.entries + entries)

    def since(self, earlier: Memory) -> tuple[Entry, ...]:
        """What was added after `earlier`."""
        return self.entries[len(earlier.entries) :]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All evidence, withdrawn or not, in order of its numbers."""
        return tuple([e for e in self.entries if isinstance(e, Evidence)])

    @property
    def withdrawn(self) -> frozenset[int]:
        """The numbers of the evidence that was withdrawn."""
        return frozenset(e.number for e in self.entries if isinstance(e, Retraction))

    @property
    def standing(self) -> tuple[Evidence, ...]:
        """The evidence that still counts: neither withdrawn nor an error."""
        gone = self.withdrawn
        return tuple(
            [e for e in self.entries if isinstance(e, Evidence) and e.number not in gone and e.kind != "error"]
        )

    @property
    def resolutions(self) -> tuple[Resolution, ...]:
        """What came of the contradictions that a question was put about."""
        return tuple(e for e in self.entries if isinstance(e, Resolution))

    @property
    def open_contradictions(self) -> tuple[Contradiction, ...]:
        """Those that a question is put about and nothing has come of yet."""
        closed = {(e.one, e.other) for e in self.resolutions}
        return tuple(e for e in self.entries if isinstance(e, Contradiction) and (e.one, e.other) not in closed)

    @property
    def next_number(self) -> int:
        """The number that the next evidence gets."""
        return len(self) + 1

    def __getitem__(self, number: int) -> Evidence:
        if number < 1:
            raise IndexError(f"evidence is numbered from 1, not {number}")
        return self.evidence[number - 1]

    def __iter__(self) -> Iterator[Evidence]:
        return iter(self.evidence)

    def __len__(self) -> int:
        return sum([isinstance(e, Evidence) for e in self.entries])


EMPTY = Memory()


def known_before(memory: Memory) -> Memory:
    """A memory as the start of another episode: its evidence was found before that one's first round."""
    return Memory(tuple(replace(e, round=0) if isinstance(e, Evidence) else e for e in memory.entries))


def repeated(memory: Memory, question: Question, same: SameText = same_text) -> Evidence | None:
    """The standing evidence that already answers this question about this image and region."""
    for known in memory.standing:
        where = known.image == question.image and known.region == question.region
        if where and known.kind == "answer" and not question.use and same(known.question, question.text):
            return known
        if question.use and known.image == question.image and known.question == question.text:  # its text says where
            return known
    return None


def contradicts(memory: Memory, found: Evidence, same: SameText = same_text) -> bool:
    """Whether other standing evidence answers the same question about the same place differently."""
    return found.kind == "answer" and any(
        _differ(found, other, same) for other in memory.standing if other.kind == "answer" and other is not found
    )


def contradictions(memory: Memory, same: SameText = same_text) -> tuple[tuple[Evidence, Evidence], ...]:
    """Pairs of standing evidence that give different answers to the same question about the same place."""
    answers = [e for e in memory.standing if e.kind == "answer"]
    return tuple((one, other) for one, other in combinations(answers, 2) if _differ(one, other, same))


def _differ(one: Evidence, other: Evidence, same: SameText) -> bool:
    return (
        (one.image, one.region) == (other.image, other.region)
        and same(one.question, other.question)
        and not same(one.answer, other.answer)
    )
