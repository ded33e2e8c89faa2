"""Several answerers: who is asked next, and what their answers to one question come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iterreason import calls
from iterreason.calls import Call, Reply
from iterreason.memory import contradicts
from iterreason.records import Evidence, Question, Retraction
from iterreason.state import Ended, State, Steps

CallFor = Callable[[State, Question, int], Call]
Learn = Callable[[State, Question, Call, Reply], None]


def second_looks(state: State, looks: Sequence[Question], call_for: CallFor, learn: Learn) -> Steps[tuple[Reply, ...]]:
    """Ask the second answerer what the first was unsure of or contradicts the memory in, then the third, and so on.

    looks: what the first was asked. Raises Ended.
    """
    made: list[Reply] = []
    for place, before in enumerate(state.plan.answerers[:-1], start=1):
        looks = [question for question in looks if in_doubt(state, _said(state, question, before))]
        if not looks:
            break
        wanted = [call_for(state, question, place) for question in looks]
        made += yield from put(state, looks, wanted, learn)
    return tuple(made)


def put(state: State, looks: Sequence[Question], made: Sequence[Call], learn: Learn) -> Steps[tuple[Reply, ...]]:
    """Make the looks' calls at once and learn from what comes of them; one that was cut off tells nothing.

    Raises Ended.
    """
    replies = yield from state.make(made)
    for question, call, reply in zip(looks, made, replies, strict=True):
        if reply.error not in calls.CUT_OFF:
            learn(state, question, call, reply)
    if state.ending:
        raise Ended(state.ending)
    return replies


def in_doubt(state: State, found: Evidence | None) -> bool:
    """Whether another answerer should look: there is no usable answer, an unsure one, or one against the memory.

    Sure is an answer whose probability, times the weight of who gives it, is at least `look.second_below`; without a
    probability none is. A caption is in doubt only where there is none: it is one description of many.
    """
    if found is None or found.kind == "caption":
        return False
    direct = not state.number and found.question == state.problem.question.strip()
    if found.kind == "error" or (direct and not state.is_direct(found.number)):
        return True
    below = state.policy.look.second_below
    weight = state.plan.reliability.weight(found.model, found.question)
    sure = found.probability is not None and found.probability * weight >= below
    return (below > 0 and not sure) or contradicts(state.memory, found, state.plan.same)


def vetoed(state: State, question: Question) -> bool:
    """Whether a person withdrew what was said to this question; the reasoner then finds so among its evidence.

    The same model would say the same again, and the veto would be lost.
    """
    same, place = state.plan.same, (question.image, question.region)
    withdrawn = {e.number for e in state.memory.entries if isinstance(e, Retraction) and e.by == "person"}
    before = [e for e in state.memory.evidence if e.kind == "answer" and (e.image, e.region) == place]
    again = [e for e in before if e.number in withdrawn and same(e.question, question.text)]
    if question.use or not again:
        return False
    why = f"a person withdrew the answer, [{again[-1].number}]; ask something else"
    state.add("error", question.text, why, None, "", question)
    return True


def _said(state: State, question: Question, model: str) -> Evidence | None:
    """What this answerer has just said to a question; None where it was not asked, or did not answer in time."""
    place = question.text, question.image, question.region
    for found in reversed(state.memory.evidence):
        if found.round != state.number:
            return None
        if (found.question, found.image, found.region) == place and found.model == model:
            return found
    return None
