"""What each piece of evidence weighed: the last verdict judged again with that piece withdrawn, one at a time."""

from __future__ import annotations

from iterreason import prompts
from iterreason.calls import Call, Reply, Sampling
from iterreason.estimating import READ_OUT, from_readout, judged_without, readout_call
from iterreason.records import Attribution, Evidence, Retraction, Usage, Verdict, Weight
from iterreason.replies import Unreadable, read_verdict, verdict_schema
from iterreason.state import Ended, State, Steps

MAX_WEIGHED = 32  # pieces of evidence; of more, the first that the verdict cites, then the latest
_BY = "the user"  # who withdraws the evidence, in the line that does; as a person's veto reads


def attributed(state: State, error: str | None) -> Steps[Attribution]:
    """Weigh the standing evidence by branches on the last verdict's prompt, all at once.

    Each branch is the conversation that the verdict ended, a line that withdraws one piece, and what asks again: the
    read-out, where the policy's confidence is one; else the verdict itself, which tells only whether it moves.
    """
    if reason := _impossible(state, error):
        return Attribution(reason=reason)
    verdict, before = state.rounds[-1].verdict, state.usage
    weighed = _weighed(state, verdict)
    by_scores = state.plan.confidence in READ_OUT
    held = [v.candidate for v in state.verdicts]
    candidates = prompts.candidates_of(state.problem, held, state.plan) if by_scores and verdict.belief else ()
    make = _scored if candidates else _concluded
    state.usage, state.ending = Usage(), None
    try:
        replies = yield from state.make([make(state, found, candidates) for found in weighed])
    except Ended as end:
        return Attribution(reason=f"it could not be weighed: {end.reason}")
    finally:
        spent, state.usage = state.usage, before
    read = _weight if candidates else _moved
    weights = tuple(read(state, verdict, f, candidates, r) for f, r in zip(weighed, replies, strict=True))
    if candidates:
        return Attribution(weights, "vote" if state.plan.confidence == "vote" else "read-out", usage=spent)
    why = f"'{state.plan.confidence}' gives no score to compare; the verdict was drawn again without each"
    return Attribution(weights, "conclusion", why, spent)


def _impossible(state: State, error: str | None) -> str:
    """Why nothing can be weighed; empty where it can."""
    if error is not None or not state.rounds or state.rounds[-1].verdict.answer is None:
        return "there is no answer to weigh the evidence of"
    if state.policy.verdict_by == "answerer":
        return "the answer is the answerer's own; no evidence went into it"
    if state.policy.layout == "separate":
        return "layout 'separate' has no conversation that a line could withdraw evidence in"
    return "" if state.rendered.standing else "there is no evidence"


def _weighed(state: State, verdict: Verdict) -> list[Evidence]:
    """The evidence that the verdict's prompt shows and nobody withdrew."""
    last, gone = state.rounds[-1].number, state.memory.withdrawn
    standing = [e for e in state.rendered.standing if e.round <= last and e.number not in gone]
    order = sorted(standing, key=lambda e: (e.number not in verdict.cites, -e.number))
    return sorted(order[:MAX_WEIGHED], key=lambda e: e.number)


def _line(found: Evidence) -> str:
    return prompts.evidence_line(Retraction(found.number, _BY))


def _scored(state: State, found: Evidence, candidates: tuple[str, ...]) -> Call:
    return readout_call(state, state.prompt, candidates, _line(found))


def _weight(state: State, verdict: Verdict, found: Evidence, candidates: tuple[str, ...], reply: Reply) -> Weight:
    """How much the answer's probability falls without this piece."""
    if reply.error:
        return Weight(found.number, None, None, None)
    estimate = from_readout(state, verdict.candidate, candidates, reply)
    if estimate.confidence is None or verdict.confidence is None:
        return Weight(found.number, None, None, None)
    before, best = verdict.belief[0].answer, estimate.belief[0].answer
    return Weight(found.number, verdict.confidence - estimate.confidence, best, not state.plan.same(before, best))


def _concluded(state: State, found: Evidence, candidates: tuple[str, ...]) -> Call:
    """The verdict drawn again, in a branch, without this piece."""
    reasoner = state.policy.reasoner
    text = prompts.evidence_text(state.plan, _line(found), state.number)
    schema = verdict_schema(state.problem, state.plan, state.policy.rounds.max)
    sampling = Sampling(reasoner.temperature, reasoner.max_tokens, seed=state.seed)
    return Call("reasoner", "generation", state.prompt.plus("user", text), sampling=sampling, schema=schema)


def _moved(state: State, verdict: Verdict, found: Evidence, candidates: tuple[str, ...], reply: Reply) -> Weight:
    try:
        said = read_verdict(reply.text, state.problem, state.plan, len(state.memory), state.number)
    except Unreadable:
        return Weight(found.number, None, None, None)
    if reply.error or said.answer is None or verdict.candidate is None:
        return Weight(found.number, None, None, None)
    if state.plan.confidence == "combined":
        said = judged_without(state, said, found.number)
    answer = said.answer or ""
    moved = not any(state.plan.same(held, answer) for held in (verdict.candidate, verdict.answer or ""))
    return Weight(found.number, None, answer, moved)
