"""How sure a verdict is: estimators that turn what was measured into one number in [0, 1].

Each takes the verdict's answer and gives an `Estimate`; what was not measured stays None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iterreason.calls import Reply, Sample
from iterreason.extensions import estimator_of
from iterreason.folding import match_choice, match_letter
from iterreason.memory import Memory, SameText
from iterreason.prompts import by_probability
from iterreason.records import Candidate, Evidence, EvidenceKind, Verdict


@dataclass(frozen=True, slots=True)
class Estimate:
    """The confidence in an answer, the belief that it comes from, and the mass outside the candidates."""

    confidence: float | None = None
    belief: tuple[Candidate, ...] = ()
    outside: float | None = None


def from_scores(answer: str | None, candidates: Sequence[str], reply: Reply, same: SameText) -> Estimate:
    """`choice-logprob`: the probability of each candidate, renormalised over the candidates."""
    masses = [0.0 if score is None or math.isnan(score) else math.exp(min(score, 0.0)) for score in reply.scores]
    return _share(answer, candidates, masses, 1.0, same)


def from_votes(answer: str | None, candidates: Sequence[str], samples: Sequence[Sample], same: SameText) -> Estimate:
    """`vote`: the share of each candidate among the samples of a read-out by letter that name one."""
    texts = [sample.text for sample in samples]
    named = [match_letter(text, candidates) or match_choice(text, candidates) for text in texts]
    return _share(answer, candidates, [float(named.count(c)) for c in candidates], float(len(samples)), same)


def majority(answers: Sequence[str | None], same: SameText) -> tuple[Candidate, ...]:
    """What samples answered, most often first, of equals the one said first; each with its share of all samples.

    answers: of each sample; None, or an empty text, where it says nothing usable: that share goes to no candidate.
    """
    counts: dict[str, int] = {}
    for answer in filter(None, answers):
        known = next((said for said in counts if same(said, answer)), answer)
        counts[known] = counts.get(known, 0) + 1
    return by_probability(Candidate(said, count / len(answers)) for said, count in counts.items())


def pooled(said: Sequence[tuple[float, Sequence[Candidate]]], same: SameText) -> tuple[Candidate, ...]:
    """What several answerers say to one question, most probable first: a linear opinion pool.

    said: of each its weight, > 0, and its candidates. Those that give no probabilities count only where none gives any;
    then the answer of the one with the greatest weight stands, of equals the first.
    Source: Stone, "The opinion pool", Annals of Mathematical Statistics 32, 1961.
    """
    given = [one for one in said if one[1]]
    known = [one for one in given if all(candidate.probability is not None for candidate in one[1])]
    if len(given) < 2 or not known:
        return tuple(max(given, key=lambda one: one[0])[1]) if given else ()
    if len(known) == 1:
        return tuple(known[0][1])
    whole = sum(weight for weight, _ in known)
    masses: dict[str, float] = {}
    for weight, candidates in known:
        for candidate in candidates:
            name = next((answer for answer in masses if same(answer, candidate.answer)), candidate.answer)
            masses[name] = masses.get(name, 0.0) + weight * (candidate.probability or 0.0) / whole
    return by_probability(Candidate(answer, mass) for answer, mass in masses.items())


def _share(
    answer: str | None, candidates: Sequence[str], masses: Sequence[float], whole: float, same: SameText
) -> Estimate:
    inside = sum(masses)
    if inside <= 0 or whole <= 0:
        return Estimate(outside=1.0)
    belief = by_probability(Candidate(c, mass / inside) for c, mass in zip(candidates, masses, strict=True))
    return Estimate(_of(answer, belief, same), belief, max(0.0, 1.0 - inside / whole))


def _of(answer: str | None, belief: Sequence[Candidate], same: SameText) -> float | None:
    if answer is None:
        return None
    return next((c.probability for c in belief if same(c.answer, answer)), None)


def from_direct(answer: str | None, direct: Sequence[Candidate], same: SameText) -> Estimate:
    """`agreement` and `answer-probability`: what the answerer, asked directly, gives the answer.

    direct: its candidates with probabilities; for an open question its one answer, and then at most the rest of the
    probability is left for any other.
    """
    if answer is None or not direct or direct[0].probability is None:
        return Estimate()
    found = _of(answer, direct, same)
    left = max(0.0, 1.0 - sum(c.probability or 0.0 for c in direct))
    return Estimate(left if found is None else found, by_probability(direct), left)


def from_cited(verdict: Verdict, memory: Memory, direct: Sequence[Candidate], same: SameText) -> Estimate:
    """`cited`: how likely it is that all the answers are right that the verdict cites, were their errors independent.

    What a person told counts as certain; captions, which are one description of many, do not count. A verdict that
    cites no answer rests on the answerer's own: then as `agreement`. The reasoner's own errors are not in it.
    """
    if verdict.answer is None:
        return Estimate()
    if not (cited := _cited(verdict, memory, "answer", "told")):
        return from_direct(verdict.candidate, direct, same)
    sure = _all_right(cited)
    return Estimate() if sure is None else _alone(verdict.candidate or verdict.answer, sure)


def from_combined(
    verdict: Verdict, memory: Memory, direct: Sequence[Candidate], same: SameText, reliability: float
) -> Estimate:
    """`combined`: what the answerer says when asked directly, and what the reasoner concludes, as one opinion.

    The reasoner is held to be right as often as everything is that it cites (answers, and what tools found), times
    `reliability`, in [0, 1): how often it concludes rightly from what is right. What an opinion leaves, it leaves open.
    Where the two agree, less stays open than in either; where they differ, each weighs as much as the other leaves it.
    A verdict that cites nothing of this is no second opinion. What a person told is above both: then as `cited`.
    verdict: without the direct answer among its cites, which would count it twice.
    Source: Dempster, "Upper and lower probabilities induced by a multivalued mapping", Annals of Mathematical
    Statistics 38, 1967: his rule of combination, for sources whose errors are independent.
    """
    cited = _cited(verdict, memory, "answer", "told", "found")
    told = any(found.kind == "told" for found in cited)
    if verdict.answer is None or told or not direct or direct[0].probability is None:
        return from_cited(verdict, memory, direct, same)
    held = verdict.candidate or verdict.answer
    if not cited:
        return replace(from_direct(held, direct, same), confidence=_of(held, direct, same) or 0.0)
    if (sure := _all_right(cited)) is None:
        return Estimate()
    sure *= reliability
    said = {candidate.answer: candidate.probability or 0.0 for candidate in direct}
    name = next((answer for answer in said if same(answer, held)), held)
    unsaid = max(0.0, 1.0 - sum(said.values()))
    masses = {answer: mass * (1.0 - sure) for answer, mass in said.items()}
    masses[name] = masses.get(name, 0.0) + (said.get(name, 0.0) + unsaid) * sure
    whole = sum(masses.values()) + unsaid * (1.0 - sure)
    belief = by_probability(Candidate(answer, mass / whole) for answer, mass in masses.items())
    return Estimate(_of(held, belief, same), belief, unsaid * (1.0 - sure) / whole)


def _cited(verdict: Verdict, memory: Memory, *kinds: EvidenceKind) -> list[Evidence]:
    """The evidence of these kinds that it cites and nobody withdrew."""
    standing = [memory[number] for number in verdict.cites if number not in memory.withdrawn]
    return [found for found in standing if found.kind in kinds]


def _all_right(answers: Sequence[Evidence]) -> float | None:
    """How likely it is that all are right, a person's for certain; None where one has no probability."""
    sure = 1.0
    for found in answers:
        if found.kind == "told":
            continue
        if found.probability is None:
            return None
        sure *= found.probability
    return sure


def _alone(answer: str, sure: float) -> Estimate:
    """So much for one answer, and the rest for none."""
    return Estimate(sure, (Candidate(answer, sure),), 1.0 - sure)


def from_installed(name: str, verdict: Verdict, memory: Memory) -> Estimate:
    """An estimator of another package: what its function makes of verdict and memory."""
    if verdict.answer is None:
        return Estimate()
    sure = estimator_of(name)(verdict, memory)
    return Estimate() if sure is None else _alone(verdict.answer, sure)


def from_stated(verdict: Verdict) -> Estimate:
    """`stated`: what the model claims of itself; the weakest of all, never a shipped default."""
    if verdict.answer is None or verdict.stated is None:
        return Estimate()
    return _alone(verdict.candidate or verdict.answer, verdict.stated)
