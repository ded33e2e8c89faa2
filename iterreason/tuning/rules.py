"""How the answers to simple questions decide a composed one, and how a reasoner puts that into words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt

from iterreason.tuning.descriptions import yes_no

Answers = tuple[str, ...]
Details = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which answers decide.

    decide: of the answers, in the order of the steps, and what the question adds (names of boxes, a number); None where
        they decide nothing. plan: what is to be done. missing: what is asked for. says: the reasoning, without its
        outcome, from the same two arguments.
    """

    decide: Callable[[Answers, Details], str | None]
    plan: str
    missing: str
    says: Callable[[Answers, Details], str]


def numbers(answers: Sequence[str]) -> tuple[int, ...] | None:
    """The counts; None where one is no number."""
    return tuple(map(int, answers)) if all(answer.isdecimal() for answer in answers) else None


def _by_counts(test: Callable[[int, int], bool]) -> Callable[[Answers, Details], str | None]:
    """A decision by two counts."""

    def decide(answers: Answers, details: Details) -> str | None:
        counts = numbers(answers)
        return yes_no(test(*counts)) if counts else None

    return decide


def _comparing(test: Callable[[int, int], bool], word: str) -> Rule:
    def says(answers: Answers, details: Details) -> str:
        return f"{answers[0]} against {answers[1]}; {word}"

    return Rule(_by_counts(test), f"Count both and see whether there are {word}.", "both counts", says)


def _of_them(test: Callable[[int, int], bool], word: str) -> Rule:
    def says(answers: Answers, details: Details) -> str:
        return f"{answers[1]} of {answers[0]} are so; {word}"

    return Rule(_by_counts(test), f"Count them, and those that are so: is it {word}?", "both counts", says)


def _both(join: Callable[[Sequence[bool]], bool], word: str, missing: str) -> Rule:
    def decide(answers: Answers, details: Details) -> str | None:
        return yes_no(join([answer == "yes" for answer in answers])) if set(answers) <= {"yes", "no"} else None

    def says(answers: Answers, details: Details) -> str:
        return f"{' and '.join(answers)}; {word}"

    return Rule(decide, f"Ask for each: {word} must hold.", missing, says)


def _adding(sign: int, plan: str) -> Rule:
    def decide(answers: Answers, details: Details) -> str | None:
        counts = numbers(answers)
        result = counts[0] + sign * counts[1] if counts else -1
        return str(result) if result >= 0 else None

    def says(answers: Answers, details: Details) -> str:
        return f"{answers[0]} {'+' if sign > 0 else '-'} {answers[1]}"

    return Rule(decide, plan, "both counts", says)


def _number(test: Callable[[int, int], bool], word: str) -> Rule:
    def decide(answers: Answers, details: Details) -> str | None:
        counts = numbers(answers)
        return yes_no(test(counts[0], int(details[0]))) if counts else None

    def says(answers: Answers, details: Details) -> str:
        return f"There are {answers[0]}; {word} {details[0]}"

    return Rule(decide, "Count them.", "the count", says)


def _most(answers: Answers, details: Details) -> str | None:
    counts = numbers(answers)
    if not counts or counts.count(max(counts)) > 1:
        return None
    return details[counts.index(max(counts))]


def _boxes(answers: Answers, details: Details) -> str:
    return ", ".join(f"{name} {answer}" for name, answer in zip(details, answers, strict=True))


def _same_box(answers: Answers, details: Details) -> str | None:
    return yes_no(any(a == b == "yes" for a, b in zip(answers[::2], answers[1::2], strict=True)))


def _pairs(answers: Answers, details: Details) -> str:
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return ", ".join(f"{name} {a} and {b}" for name, (a, b) in zip(details, pairs, strict=False))


def _is(answers: Answers, details: Details) -> str | None:
    return yes_no(answers[0] == details[0] or (details[0], answers[0]) == ("rectangle", "square"))


def _last(answers: Answers, details: Details) -> str | None:
    return answers[-1] if answers else None


def _odd(answers: Answers, details: Details) -> str | None:
    """What was said of the one that stands alone; where only its sort was wanted, that sort."""
    return details[1] if answers[-1].isdecimal() else answers[-1]


def _alone(answers: Answers, details: Details) -> str:
    return f"The {details[1]} stands alone"


def _given(answers: Answers, details: Details) -> str:
    return f"{answers[-1]}, looked at again" if answers else ""


RULES: dict[str, Rule] = {
    "more": _comparing(gt, "more"),
    "fewer": _comparing(lt, "fewer"),
    "equal": _comparing(eq, "as many"),
    "all": _of_them(eq, "all"),
    "any": _of_them(lambda whole, part: part > 0, "any"),
    "none": _of_them(lambda whole, part: part == 0, "none"),
    "and": _both(all, "both", "whether each is there"),
    "or": _both(any, "one", "whether each is there"),
    "chain": _both(all, "both", "each place"),
    "total": _adding(1, "Count both and add."),
    "difference": _adding(-1, "Count both and subtract."),
    "exactly": _number(eq, "exactly"),
    "at least": _number(ge, "at least"),
    "at most": _number(le, "at most"),
    "more than": _number(gt, "more than"),
    "fewer than": _number(lt, "fewer than"),
    "box-most": Rule(_most, "Count in each box.", "the count in each box", _boxes),
    "box-more": _comparing(gt, "more"),
    "box-every": Rule(
        lambda answers, details: yes_no(all(answer == "yes" for answer in answers)),
        "Look into each box.", "what each box has", _boxes,
    ),
    "box-both": Rule(_same_box, "Look into each box for both.", "what each box has", _pairs),
    "odd": Rule(_odd, "Count each kind: the odd one stands alone.", "which kind stands alone", _alone),
    "is": Rule(
        _is, "Ask what it is instead.", "what it is", lambda answers, details: f"It is {answers[0]}; {details[0]}"),
    "confirm": Rule(
        lambda answers, details: details[0] if answers == ("yes",) else None,
        "Ask whether that is so.",
        "whether that is so",
        lambda answers, details: f"{details[0]}, looked at again: {answers[0]}",
    ),
    "again": Rule(_last, "Ask once more in other words.", "a second look", _given),
}  # fmt: skip
