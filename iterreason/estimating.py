"""The policy's estimate of a verdict, and whether its answer is one that was proposed before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from iterreason import prompts
from iterreason.calls import Call, Prompt, Reply, Sampling
from iterreason.confidence import (
    Estimate,
    from_cited,
    from_direct,
    from_installed,
    from_scores,
    from_stated,
    from_votes,
)
from iterreason.entailment import entailed
from iterreason.folding import match_choice, match_letter
from iterreason.generating import ask_reasoner
from iterreason.policy import ESTIMATORS
from iterreason.records import Verdict
from iterreason.state import State, Steps

MAX_COMPARED = 4  # candidates that a new answer is compared with in a round, the latest first
_VOTE_TEMPERATURE = 1.0
_LETTER_TOKENS = 4
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
    known = [c.answer for c in state.direct] + [v.candidate for v in state.verdicts if v.candidate is not None]
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
        sampling=Sampling(0.0, 1 if scores else _LETTER_TOKENS, seed=state.seed),
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
    else:
        call, read = reading(state, verdict)
        estimate = read((yield from ask_reasoner(state, call)) if call else Reply())
    return replace(verdict, confidence=estimate.confidence, belief=estimate.belief, outside=estimate.outside)


def reading(state: State, verdict: Verdict) -> tuple[Call | None, Callable[[Reply], Estimate]]:
    """The read-out that the estimate needs, None where it needs none, and how the estimate is made out of its reply.

    A read-out is a branch that never enters the conversation.
    """
    plan, answer = state.plan, verdict.candidate
    if plan.confidence == "stated":
        return None, lambda reply: from_stated(verdict)
    if plan.confidence in ("agreement", "answer-probability"):
        return None, lambda reply: from_direct(answer, state.direct, plan.same)
    if plan.confidence == "cited":
        return None, lambda reply: from_cited(verdict, state.memory, state.direct, plan.same)
    if plan.confidence not in ESTIMATORS:
        return None, lambda reply: from_installed(plan.confidence, verdict, state.memory)
    if answer is None:
        return None, lambda reply: Estimate()
    candidates = prompts.candidates_of(state.problem, [v.candidate for v in (*state.verdicts, verdict)], plan)
    call = readout_call(state, state.prompt, candidates)
    if plan.confidence == "vote":
        return call, lambda reply: from_votes(answer, candidates, reply.samples, plan.same)
    return call, lambda reply: from_scores(answer, candidates, reply, plan.same)


def readout_call(state: State, prompt: Prompt, candidates: tuple[str, ...], before: str = "") -> Call:
    """The read-out over these candidates after a prompt; `before` stands at the head of its message."""
    branch, letters = prompts.readout_prompt(prompt, state.plan, state.problem, candidates, before)
    votes = state.plan.confidence == "vote"
    counted = Sampling(_VOTE_TEMPERATURE, _LETTER_TOKENS, state.policy.reasoner.votes, state.seed)
    return Call(
        "reasoner",
        "readout",
        branch,
        sampling=counted if votes else Sampling(0.0, 1),
        choices=() if votes else letters,
    )
