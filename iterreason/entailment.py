"""The estimator `entailment`: does reliable and relevant evidence alone make the answer right?

Source: ReCoVERR (Srinivasan et al. 2024, arXiv 2402.15610): evidence counts where the model that sees is sure of it
(reliable), and where the hypothesis is more or less probable with it than with its negation (relevant).
"""

from __future__ import annotations

from collections.abc import Sequence

from iterreason import prompts
from iterreason.calls import Call, Prompt, Reply, Sampling
from iterreason.confidence import Estimate, from_direct, from_scores, from_votes
from iterreason.folding import same_text
from iterreason.generating import ask_all, letter_votes
from iterreason.records import Candidate, Evidence, Verdict
from iterreason.state import State, Steps

_YES, _NO = "yes", "no"


def entailed(state: State, verdict: Verdict) -> Steps[Estimate]:
    """How probable it is that the evidence entails the verdict's answer; a direct answer that is sure needs none.

    Each probability is a read-out, yes or no, on a prompt of its own; captions and what a person told are taken as they
    are. Where nothing counts, nothing is estimated.
    """
    if verdict.answer is None:
        return Estimate()
    bounds = state.policy.entailment
    direct = from_direct(verdict.answer, state.direct, state.plan.same)
    if direct.confidence is not None and direct.confidence >= bounds.direct:
        return direct
    found = [entry for entry in state.memory.standing if _counts(state, entry)]
    kept = yield from _relevant(state, verdict.answer, found)
    if not kept:
        return Estimate()
    (sure,) = yield from _measure(state, [_prompt(state, verdict.answer, [_statement(e) for e in kept])])
    if sure is None:
        return Estimate()
    return Estimate(sure, (Candidate(verdict.answer, sure),), 1.0 - sure)


def _counts(state: State, found: Evidence) -> bool:
    """Whether evidence is reliable, and not the hypothesis itself."""
    if found.kind in ("caption", "told"):
        return True
    if found.kind == "error" or not found.answer or state.plan.same(found.question, state.problem.question):
        return False
    return found.probability is not None and found.probability >= state.policy.entailment.reliable


def _relevant(state: State, answer: str, found: Sequence[Evidence]) -> Steps[list[Evidence]]:
    """The evidence that bears on the answer: two read-outs each, as it is and negated, all new ones at once."""
    least = state.policy.entailment.relevant
    weighed = [entry for entry in found if least and entry.kind in ("answer", "found")]
    asked = [_prompt(state, answer, [_statement(entry, negated)]) for entry in weighed for negated in (False, True)]
    measured = yield from _measure(state, asked)
    moved = {
        entry.number: given is not None and negated is not None and abs(given - negated) >= least
        for entry, given, negated in zip(weighed, measured[::2], measured[1::2], strict=True)
    }
    return [entry for entry in found if moved.get(entry.number, True)]


def _statement(found: Evidence, negated: bool = False) -> str:
    answer = prompts.one_line(found.answer)
    if found.kind in ("caption", "told"):
        return answer
    return f"{prompts.one_line(found.question)} {'not ' if negated else ''}{answer}"


def _prompt(state: State, answer: str, statements: Sequence[str]) -> Prompt:
    return prompts.entailed_prompt(state.plan, state.problem, answer, statements, (_YES, _NO))


def _measure(state: State, asked: Sequence[Prompt]) -> Steps[list[float | None]]:
    """The probability of `yes` to each prompt. None is measured twice: a second draw tells nothing."""
    scores = state.plan.reasoner_scores
    sampling, letters = (Sampling(0.0, 1), ("A", "B")) if scores else (letter_votes(state), ())
    new = {prompt.digest: prompt for prompt in asked if prompt.digest not in state.measured}
    if new:
        made = [Call("reasoner", "readout", prompt, sampling=sampling, choices=letters) for prompt in new.values()]
        replies = yield from ask_all(state, made)
        known = {digest: _yes(reply, scores) for digest, reply in zip(new, replies, strict=True)}
        state.measured = {**state.measured, **known}
    return [state.measured[prompt.digest] for prompt in asked]


def _yes(reply: Reply, scores: bool) -> float | None:
    """The probability of `yes`: of scores, over yes and no; of samples, its share of all of them."""
    if scores:
        return from_scores(_YES, (_YES, _NO), reply, same_text).confidence
    said = from_votes(_YES, (_YES, _NO), reply.samples, same_text)
    return None if said.confidence is None else said.confidence * (1.0 - (said.outside or 0.0))
