"""What a question is worth: how much its answer is expected to change the belief, by an answerer that errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from iterreason.folding import fold
from iterreason.memory import SameText
from iterreason.records import Question, Verdict
from iterreason.state import State

_ELSE = ""  # the candidate, or the answer, that nobody named


def weighed(state: State, verdict: Verdict) -> Verdict:
    """The verdict with only those of its questions that are worth most; the others stand in `dropped`.

    A question that does not say what its answers mean has no known worth: it comes after those that do. Before round
    `rounds.min` at least the best one stays.
    """
    policy = state.policy
    if policy.ask.keep == "first" or not verdict.questions:
        return verdict
    prior = prior_of(verdict, state.problem.choices, state.plan.same)
    valued = [replace(q, worth=_of(state, q, prior)) for q in verdict.questions]
    ranked = sorted(valued, key=lambda q: -1.0 if q.worth is None else q.worth, reverse=True)
    kept = [q for q in ranked if q.worth is None or q.worth > policy.ask.cost]
    if not kept and state.number < policy.rounds.min:
        kept = ranked[:1]
    kept = kept[: policy.rounds.questions]
    return replace(verdict, questions=tuple(kept), dropped=tuple(q for q in ranked if q not in kept))


def _of(state: State, question: Question, prior: Mapping[str, float]) -> float | None:
    if not question.means or question.use:
        return None
    return expected_change(prior, question.means, state.plan.reliability.weight(state.plan.answerers[0], question.text))


def prior_of(verdict: Verdict, choices: Sequence[str], same: SameText) -> dict[str, float]:
    """The verdict's belief by folded answer, summing to 1.

    What it leaves outside is shared evenly by the choices that it does not name; by an open question's unnamed rest.
    """
    outside = min(max(verdict.outside or 0.0, 0.0), 1.0)
    inside = sum(c.probability or 0.0 for c in verdict.belief)
    scale = (1.0 - outside) / inside if inside > 0 else 0.0
    prior = {fold(c.answer): (c.probability or 0.0) * scale for c in verdict.belief}
    rest = 1.0 - sum(prior.values())
    unnamed = [fold(c) for c in choices if not any(same(c, named.answer) for named in verdict.belief)] or [_ELSE]
    if choices and unnamed == [_ELSE]:  # all choices have their share: what is outside tells nothing of the answer
        return {answer: p / (1.0 - rest) for answer, p in prior.items()} if rest < 1.0 else prior
    return prior | {answer: rest / len(unnamed) for answer in unnamed}


def likelihoods(
    prior: Mapping[str, float], means: Sequence[tuple[str, str]], reliability: float
) -> dict[str, dict[str, float]]:
    """By what the answerer says, folded: how likely it says so were this candidate right.

    prior: the candidates, folded. means: answers that the question may bring, and the candidate that each speaks for.
        Were a candidate right, the question's true answer would be one of those that speak for it, each as likely;
        where none does, one that speaks for no candidate, or any.
    reliability: how often the answerer says the true answer, in [0, 1]; else it says each of the others as likely.
    """
    speaks = {fold(answer): fold(candidate) for answer, candidate in means}
    answers = [*speaks, *([_ELSE] if len(speaks) == 1 else [])]
    wrong = (1.0 - reliability) / (len(answers) - 1)
    made: dict[str, dict[str, float]] = {answer: {} for answer in answers}
    for candidate in prior:
        true = [answer for answer in answers if speaks.get(answer) == candidate]
        true = true or [a for a in answers if speaks.get(a) not in prior] or answers
        for said in answers:
            hit = said in true
            made[said][candidate] = (reliability * hit + wrong * (len(true) - hit)) / len(true)
    return made


def expected_change(prior: Mapping[str, float], means: Sequence[tuple[str, str]], reliability: float) -> float:
    """How far the belief is expected to move, as total variation, in [0, 1]: 0 where no answer would change it.

    prior: the probability of each candidate, by folded answer, summing to 1. means, reliability: see `likelihoods`.
    """
    change = 0.0
    for likely in likelihoods(prior, means, reliability).values():
        said_at_all = sum(prior[candidate] * likely[candidate] for candidate in prior)
        change += sum(prior[candidate] * abs(likely[candidate] - said_at_all) for candidate in prior) / 2
    return change
