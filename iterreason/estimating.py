"""The policy's estimate of a verdict, and whether its answer is one that was proposed before."""

from __future__ import annotations

from dataclasses import replace

from iterreason import prompts
from iterreason.calls import Call, Prompt, Reply, Sampling
from iterreason.confidence import (
    Estimate,
    from_cited,
    from_combined,
    from_direct,
    from_installed,
    from_scores,
    from_stated,
    from_votes,
)
from iterreason.entailment import entailed
from iterreason.folding import match_choice, match_letter
from iterreason.generating import LETTER_TOKENS, ask_reasoner, letter_votes
from iterreason.policy import DIRECT_ESTIMATORS, ESTIMATORS
from iterreason.records import Verdict
from iterreason.state import State, Steps

MAX_COMPARED = 4  # candidates that a new answer is compared with in a round, the latest first
READ_OUT = ("choice-logprob", "vote")  # the estimators that read the candidates' letters out
_YES, _NO = "yes", "no"


# ------------------------------------------------------------------ one candidate or two


def recognised(state: State, verdict: Verdict) -> Steps[Verdict]:
    """The verdict, with the earlier candidate that its answer means the same as, where the policy has that asked.

    Answers that are the same text after folding need no asking. Each question is a branch, counted as a read-out.
    """
    if state.policy.belief.same == "folded" or verdict.answer is None or state.problem.choices:
        return verdict
    for earlier in state.verdicts:
        if earlier.answer is not None and state.plan.same(earlier.answer, verdict.answer):
            return replace(verdict, same_as=earlier.same_as)
    held = [answer for v in state.verdicts for answer in (v.candidate, v.concluded) if answer is not None]
    known = [*(candidate.answer for candidate in state.direct), *held]
    if any(state.plan.same(verdict.answer, answer) for answer in known):
        return verdict
    for answer in list(dict.fromkeys(reversed(known)))[:MAX_COMPARED]:
        if (yield from _mean_the_same(state, answer, verdict.answer)):
            return replace(verdict, same_as=answer)
    return verdict


def _mean_the_same(state: State, one: str, other: str) -> Steps[bool]:
    """Whether the reasoner holds two answers to be one; what it does not clearly affirm, they are two."""
    asked = {"question": state.problem.question.strip(), "one": prompts.one_line(one), "other": prompts.one_line(other)}
    branch = state.prompt.plus("user", prompts.fill(state.policy.prompts.same, **asked))
    scores = state.plan.confidence == "choice-logprob"
    call = Call(
        "reasoner",
        "readout",
        branch,
        sampling=Sampling(0.0, 1 if scores else LETTER_TOKENS, seed=state.seed),
        choices=("A", "B") if scores else (),
    )
    reply = yield from ask_reasoner(state, call)
    if scores:
        return (from_scores(_YES, (_YES, _NO), reply, state.plan.same).confidence or 0.0) > 0.5
    said = match_letter(reply.text, (_YES, _NO)) or match_choice(reply.text, (_YES, _NO))
    return said == _YES


# ------------------------------------------------------------------ how sure


def estimated(state: State, verdict: Verdict) -> Steps[Verdict]:
    """The verdict with the policy's confidence in it, and the belief that it comes from."""
    if state.plan.confidence == "entailment":
        estimate = yield from entailed(state, verdict)
    elif state.plan.confidence in READ_OUT and verdict.candidate is not None:
        candidates = _candidates(state, verdict)
        reply = yield from ask_reasoner(state, readout_call(state, state.prompt, candidates))
        estimate = from_readout(state, verdict.candidate, candidates, reply)
    else:
        estimate = _from_what_is_known(state, verdict)
    return _with(state, verdict, estimate)


def judged_without(state: State, verdict: Verdict, number: int) -> Verdict:
    """What `combined` makes of a verdict that was drawn with this piece of evidence withdrawn; no call."""
    before = state.directs
    state.directs = tuple(said for said in before if said.number != number)
    try:
        verdict = replace(verdict, cites=tuple(cited for cited in verdict.cites if cited != number))
        return _with(state, verdict, _from_what_is_known(state, verdict))
    finally:
        state.directs = before


def _with(state: State, verdict: Verdict, estimate: Estimate) -> Verdict:
    verdict = replace(verdict, confidence=estimate.confidence, belief=estimate.belief, outside=estimate.outside)
    return _weighed_against_direct(state, verdict) if state.plan.confidence == "combined" else verdict


def _weighed_against_direct(state: State, verdict: Verdict) -> Verdict:
    """The verdict for the most probable candidate, which may not be what the reasoner concluded.

    It also cites the direct answers that speak for it; those alone, where they outweigh the reasoner.
    """
    told = [n for n in verdict.cites if n not in state.memory.withdrawn and state.memory[n].kind == "told"]
    if verdict.answer is None or verdict.confidence is None or told or not verdict.belief or not state.directs:
        return verdict
    same, best = state.plan.same, verdict.belief[0]
    spoke = [said.number for said in state.directs if same(said.candidates[0].answer, best.answer)]
    if same(best.answer, verdict.candidate or verdict.answer) or (best.probability or 0.0) <= verdict.confidence:
        return replace(verdict, cites=tuple(sorted({*verdict.cites, *spoke})))
    who = "the answerer says" if spoke else "the answerers together say"
    why = f"asked directly, {who} {best.answer!r}, which outweighs {verdict.answer!r}"
    return replace(
        verdict,
        answer=best.answer,
        confidence=best.probability,
        cites=tuple(spoke or [said.number for said in state.directs]),
        rationale=f"{why}: {verdict.rationale}" if verdict.rationale else why,
        same_as=None,
        concluded=verdict.answer,
    )


def _candidates(state: State, verdict: Verdict) -> tuple[str, ...]:
    return prompts.candidates_of(state.problem, [v.candidate for v in (*state.verdicts, verdict)], state.plan)


def _from_what_is_known(state: State, verdict: Verdict) -> Estimate:
    """The estimate that takes no call."""
    plan = state.plan
    if plan.confidence == "stated":
        return from_stated(verdict)
    if plan.confidence in DIRECT_ESTIMATORS:
        return from_direct(verdict.candidate, state.direct, plan.same)
    if plan.confidence == "cited":
        return from_cited(verdict, state.memory, state.direct, plan.same)
    if plan.confidence == "combined":
        own = replace(verdict, cites=tuple(number for number in verdict.cites if not state.is_direct(number)))
        return from_combined(own, state.memory, state.direct, plan.same, plan.policy.belief.reliability)
    if plan.confidence not in ESTIMATORS:
        return from_installed(plan.confidence, verdict, state.memory)
    return Estimate()


def readout_call(state: State, prompt: Prompt, candidates: tuple[str, ...], before: str = "") -> Call:
    """The read-out over these candidates after a prompt; `before` stands at the head of its message."""
    branch, letters = prompts.readout_prompt(prompt, state.plan, state.problem, candidates, before)
    votes = state.plan.confidence == "vote"
    return Call(
        "reasoner",
        "readout",
        branch,
        sampling=letter_votes(state) if votes else Sampling(0.0, 1),
        choices=() if votes else letters,
    )


def from_readout(state: State, answer: str | None, candidates: tuple[str, ...], reply: Reply) -> Estimate:
    """What a read-out's reply says of an answer: of its samples, or of the letters' scores."""
    if state.plan.confidence == "vote":
        return from_votes(answer, candidates, reply.samples, state.plan.same)
    return from_scores(answer, candidates, reply, state.plan.same)
