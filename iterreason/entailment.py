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
from iterreason.generating import ask_all
from iterreason.records import Candidate, Evidence, Verdict
from iterreason.state import State, Steps

_YES, _NO = "yes", "no"
_VOTE_TEMPERATURE = 1.0


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
    yield from _weigh(state, verdict, [entry for entry in found if entry.kind in ("answer", "found")])
    kept = [entry for entry in found if state.relevant.get((entry.number, verdict.answer), True)]
    if not kept:
        return Estimate()
    (sure,) = yield from _readouts(state, [_prompt(state, verdict.answer, [_statement(e) for e in kept])])
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


def _weigh(state: State, verdict: Verdict, found: Sequence[Evidence]) -> Steps[None]:
    """Find which new evidence is relevant: two read-outs each, as it is and negated, all at once."""
    least, answer = state.policy.entailment.relevant, verdict.answer or ""
    new = [entry for entry in found if (entry.number, answer) not in state.relevant] if least else []
    if not new:
        return
    asked = [_prompt(state, answer, [_statement(entry, negated)]) for entry in new for negated in (False, True)]
    measured = yield from _readouts(state, asked)
    for place, entry in enumerate(new):
        given, negated = measured[2 * place : 2 * place + 2]
        state.relevant[entry.number, answer] = (
            given is not None and negated is not None and abs(given - negated) >= least
        )


def _statement(found: Evidence, negated: bool = False) -> str:
    answer = prompts.one_line(found.answer)
    if found.kind in ("caption", "told"):
        return answer
    return f"{prompts.one_line(found.question)} {'not ' if negated else ''}{answer}"


def _prompt(state: State, answer: str, statements: Sequence[str]) -> Prompt:
    return prompts.entailed_prompt(state.plan, state.problem, answer, statements, (_YES, _NO))


def _readouts(state: State, asked: Sequence[Prompt]) -> Steps[tuple[float | None, ...]]:
    """The probability of `yes` to each prompt, renormalised over yes and no; from samples where it cannot be scored."""
    scores = state.plan.reasoner_scores
    votes = Sampling(_VOTE_TEMPERATURE, 4, state.policy.reasoner.votes, state.seed)
    sampling, letters = (Sampling(0.0, 1), ("A", "B")) if scores else (votes, ())
    made = [Call("reasoner", "readout", prompt, sampling=sampling, choices=letters) for prompt in asked]
    replies = yield from ask_all(state, made)
    return tuple(_yes(reply, scores) for reply in replies)


def _yes(reply: Reply, scores: bool) -> float | None:
    """The probability of `yes`; None where the reply says neither."""
    if scores:
        return from_scores(_YES, (_YES, _NO), reply, same_text).confidence
    return from_votes(_YES, (_YES, _NO), reply.samples, same_text).confidence
