"""What a person asks the answerer apart from any question to be reasoned about: looks, and no verdict."""

from __future__ import annotations

from collections.abc import Sequence

from iterreason.calls import Turn
from iterreason.loop import Episode, look
from iterreason.memory import EMPTY, Memory, known_before
from iterreason.plan import Plan
from iterreason.records import ONLY_LOOKED, Problem, Question
from iterreason.state import Ended, State


def looks(
    problem: Problem, plan: Plan, asked: Sequence[Question], *, start: Memory = EMPTY, seed: int | None = None
) -> Episode:
    """An episode that puts a person's own questions to the answerer and concludes nothing from them."""
    state = State(problem, plan, known_before(start), seed)
    reason, error = ONLY_LOOKED, None
    try:
        yield from look(state, asked)
    except Ended as end:
        reason, error = end.reason, end.error
    if state.events:
        yield Turn((), state.take_events())
    return state.result(reason, error)
