"""How sure a verdict is: numbers worked out by hand, and nothing where nothing was measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iterreason.calls import Reply, Sample
from iterreason.confidence import (
    Estimate,
    from_cited,
    from_combined,
    from_direct,
    from_scores,
    from_stated,
    from_votes,
)
from iterreason.folding import same_text
from iterreason.memory import EMPTY, Memory
from iterreason.records import Candidate, Evidence, Retraction, Verdict

YES_NO = ("yes", "no")


def scores(*probabilities: float | None) -> Reply:
    return Reply(scores=tuple(None if p is None else (math.log(p) if p else -math.inf) for p in probabilities))


def shares(estimate: Estimate) -> list[tuple[str, float]]:
    return [(c.answer, pytest.approx(c.probability)) for c in estimate.belief]


# ------------------------------------------------------------------ choice-logprob


@pytest.mark.parametrize(
    ("answer", "reply", "confidence", "belief", "outside"),
    [
        ("yes", scores(0.6, 0.2), 0.75, [("yes", 0.75), ("no", 0.25)], 0.2),
        ("no", scores(0.6, 0.2), 0.25, [("yes", 0.75), ("no", 0.25)], 0.2),
        ("no", scores(0.2, 0.6), 0.75, [("no", 0.75), ("yes", 0.25)], 0.2),
        ("yes", scores(0.5, 0.5), 0.5, [("yes", 0.5), ("no", 0.5)], 0.0),
        ("no", scores(0.5, 0.5), 0.5, [("yes", 0.5), ("no", 0.5)], 0.0),
        ("yes", scores(0.3, None), 1.0, [("yes", 1.0), ("no", 0.0)], 0.7),
        ("no", scores(0.3, None), 0.0, [("yes", 1.0), ("no", 0.0)], 0.7),
        ("yes", scores(0.9, 0.0), 1.0, [("yes", 1.0), ("no", 0.0)], 0.1),
        ("Yes.", scores(0.6, 0.2), 0.75, [("yes", 0.75), ("no", 0.25)], 0.2),
        ("maybe", scores(0.6, 0.2), None, [("yes", 0.75), ("no", 0.25)], 0.2),
        (None, scores(0.6, 0.2), None, [("yes", 0.75), ("no", 0.25)], 0.2),
        # a score above 0 is no log-probability; it counts as certainty, not as more
        ("yes", Reply(scores=(0.5, math.log(0.25))), 0.8, [("yes", 0.8), ("no", 0.2)], 0.0),
    ],
)
def test_scores_are_shared_out_over_the_candidates(answer, reply, confidence, belief, outside):
    """The probability of each candidate, renormalised; what lay outside them is told, not hidden."""
    estimate = from_scores(answer, YES_NO, reply, same_text)
    assert estimate.confidence == (confidence if confidence is None else pytest.approx(confidence))
    assert [(c.answer, c.probability) for c in estimate.belief] == [(a, pytest.approx(p)) for a, p in belief]
    assert estimate.outside == pytest.approx(outside)


@pytest.mark.parametrize("reply", [Reply(), scores(None, None), scores(0.0, 0.0), Reply(scores=(math.nan, math.nan))])
def test_without_any_mass_nothing_is_claimed(reply):
    """Where no candidate was scored there is no confidence and no belief: all of the mass lies outside."""
    assert from_scores("yes", YES_NO, reply, same_text) == Estimate(outside=1.0)


def test_a_score_that_is_no_number_counts_as_not_reported():
    """NaN from a model never becomes a confidence."""
    estimate = from_scores("yes", YES_NO, Reply(scores=(math.log(0.5), math.nan)), same_text)
    assert (estimate.confidence, estimate.outside) == (pytest.approx(1.0), pytest.approx(0.5))


# ------------------------------------------------------------------ vote


def votes(*texts: str) -> list[Sample]:
    return [Sample(text) for text in texts]


@pytest.mark.parametrize(
    ("answer", "samples", "confidence", "outside"),
    [
        ("yes", votes("A", "A", "B", "A"), 0.75, 0.0),
        ("no", votes("A", "A", "B", "A"), 0.25, 0.0),
        ("yes", votes("A", "B"), 0.5, 0.0),
        ("yes", votes("(A)", "**A**", "a.", "yes", "A: yes"), 1.0, 0.0),
        ("yes", votes("A", "C", "I see A and B", "", "A or B"), 1.0, 0.8),
        ("no", votes("A", "A"), 0.0, 0.0),
        ("yes", votes("B", "A: no", "no"), 0.0, 1 / 3),
        (None, votes("A", "B"), None, 0.0),
        ("maybe", votes("A", "B"), None, 0.0),
    ],
)
def test_votes_are_counted_over_those_that_name_a_candidate(answer, samples, confidence, outside):
    """The share of each candidate among the votes that name one; the others count as outside."""
    estimate = from_votes(answer, YES_NO, samples, same_text)
    assert estimate.confidence == (confidence if confidence is None else pytest.approx(confidence))
    assert estimate.outside == pytest.approx(outside)
    assert sum(c.probability for c in estimate.belief) == pytest.approx(1.0)


@pytest.mark.parametrize("samples", [[], votes("C", "none", "")])
def test_without_a_vote_nothing_is_claimed(samples):
    """No sample, or none that names a candidate, gives no confidence."""
    assert from_votes("yes", YES_NO, samples, same_text) == Estimate(outside=1.0)


def test_a_vote_is_a_letter_even_where_the_candidates_are_letters():
    """The read-out asks for letters: A is the first candidate, also where that candidate is called B."""
    assert shares(from_votes("B", ("B", "A"), votes("A", "A", "B"), same_text)) == [("B", 2 / 3), ("A", 1 / 3)]


def test_equal_shares_keep_the_order_of_the_candidates():
    """A tie is shown as the candidates stand; no order is made up."""
    assert shares(from_votes("c", ("c", "b", "a"), votes("C", "B"), same_text)) == [("b", 0.5), ("a", 0.5), ("c", 0.0)]


# ------------------------------------------------------------------ the direct answer


@pytest.mark.parametrize(
    ("answer", "direct", "confidence", "left"),
    [
        ("yes", [("yes", 0.7), ("no", 0.3)], 0.7, 0.0),
        ("no", [("yes", 0.7), ("no", 0.3)], 0.3, 0.0),
        # an open question: one answer is known, and any other has at most the rest
        ("3", [("3", 0.7)], 0.7, 0.3),
        ("three", [("3", 0.7)], 0.7, 0.3),
        ("4", [("3", 0.7)], 0.3, 0.3),
        ("4", [("3", 1.0)], 0.0, 0.0),
        ("4", [("3", 0.0)], 1.0, 1.0),
        ("maybe", [("yes", 0.6), ("no", 0.4)], 0.0, 0.0),
        # rounding past 1 leaves nothing, not less than nothing
        ("maybe", [("yes", 0.7), ("no", 0.3000001)], 0.0, 0.0),
        ("no", [("yes", 0.7), ("no", None)], 0.3, 0.3),
    ],
)
def test_agreement_is_what_the_answerer_gives_the_answer(answer, direct, confidence, left):
    """The answerer's own probability for the reasoner's answer."""
    estimate = from_direct(answer, [Candidate(*pair) for pair in direct], same_text)
    assert estimate.confidence == pytest.approx(confidence)
    assert estimate.outside == pytest.approx(left)


@pytest.mark.parametrize(
    ("answer", "direct"), [(None, [Candidate("yes", 0.9)]), ("yes", []), ("yes", [Candidate("yes", None)])]
)
def test_without_a_measured_direct_answer_nothing_is_claimed(answer, direct):
    """No answer, no direct look or one without a probability gives no confidence."""
    assert from_direct(answer, direct, same_text) == Estimate()


# ------------------------------------------------------------------ stated


@pytest.mark.parametrize(
    ("verdict", "estimate"),
    [
        (Verdict("yes", stated=0.75), Estimate(0.75, (Candidate("yes", 0.75),), 0.25)),
        (Verdict("yes", stated=0.0), Estimate(0.0, (Candidate("yes", 0.0),), 1.0)),
        (Verdict("yes"), Estimate()),
        (Verdict(None, stated=0.8), Estimate()),
    ],
)
def test_stated_is_what_the_model_claims(verdict, estimate):
    """A claim counts as it is read, and where there is none nothing is claimed."""
    assert from_stated(verdict) == estimate


# ------------------------------------------------------------------ all

mass = st.none() | st.floats(-800, 5) | st.just(-math.inf) | st.just(math.nan)


@given(st.lists(mass, min_size=2, max_size=2), st.sampled_from([*YES_NO, "maybe", None]))
def test_every_number_is_a_probability(given_scores, answer):
    """Whatever the scores, confidence, belief and what lies outside are in [0, 1], and belief sums to 1."""
    estimate = from_scores(answer, YES_NO, Reply(scores=tuple(given_scores)), same_text)
    numbers = [c.probability for c in estimate.belief] + [estimate.outside]
    numbers += [] if estimate.confidence is None else [estimate.confidence]
    assert all(0 <= n <= 1 + 1e-12 for n in numbers)
    if estimate.belief:
        assert sum(c.probability for c in estimate.belief) == pytest.approx(1)
        assert estimate.belief[0].probability >= estimate.belief[1].probability


def remembered(*found: tuple[str, str, float | None]) -> Memory:
    memory = EMPTY
    for number, (kind, answer, probability) in enumerate(found, 1):
        memory = memory.plus(Evidence(number, kind, f"question {number}?", answer, probability, "a model", 1))
    return memory


def test_cited_is_the_chance_that_all_cited_answers_are_right():
    """The product of the cited answers' probabilities; captions and what is not cited do not count."""
    memory = remembered(("caption", "a scene", 0.01), ("answer", "3", 0.9), ("answer", "2", 0.8), ("answer", "no", 0.1))
    found = from_cited(Verdict("5", cites=(1, 2, 3)), memory, (), same_text)
    assert found.confidence == pytest.approx(0.72)
    assert found.belief == (Candidate("5", found.confidence),)


def test_cited_heeds_a_veto_a_person_and_a_missing_probability():
    """Withdrawn evidence does not count, a person's word is certain, and an unknown probability stays unknown."""
    memory = remembered(
        ("answer", "3", 0.5), ("answer", "2", 0.8), ("told", "there are 2", None), ("answer", "no", None)
    )
    vetoed = memory.plus(Retraction(1, "person"))
    assert from_cited(Verdict("5", cites=(1, 2)), vetoed, (), same_text).confidence == pytest.approx(0.8)
    assert from_cited(Verdict("2", cites=(3,)), memory, (), same_text).confidence == 1.0
    assert from_cited(Verdict("2", cites=(2, 4)), memory, (), same_text).confidence is None


def test_two_opinions_that_agree_are_surer_than_either():
    """Dempster's rule by hand: 0.6 direct and 0.9 x 0.8 concluded leave 0.4 x 0.28 open, for any other answer."""
    memory = remembered(("answer", "3", 0.8))
    found = from_combined(Verdict("car", cites=(1,)), memory, (Candidate("a car", 0.6),), same_text, 0.9)
    assert found.confidence == pytest.approx(1 - 0.4 * 0.28)
    assert found.outside == pytest.approx(0.4 * 0.28)


def test_of_two_opinions_that_differ_each_weighs_what_the_other_leaves_it():
    """Direct yes 0.7, no 0.3; concluded no by answers right with 0.8, at 0.9: no weighs 0.3, yes 0.7 x 0.28."""
    memory, direct = remembered(("answer", "3", 0.8)), (Candidate("yes", 0.7), Candidate("no", 0.3))
    found = from_combined(Verdict("no", cites=(1,)), memory, direct, same_text, 0.9)
    assert found.confidence == pytest.approx(0.3 / (0.3 + 0.7 * 0.28))
    assert found.belief[0].answer == "no"
    doubted = from_combined(Verdict("no", cites=(1,)), memory, direct, same_text, 0.5)
    assert doubted.belief[0] == Candidate("yes", pytest.approx(0.7 * 0.6 / (0.3 + 0.7 * 0.6)))
    assert doubted.confidence == pytest.approx(0.3 / (0.3 + 0.7 * 0.6))


def test_opinions_about_what_nobody_can_tell_stay_low():
    """A flagged photograph: 0.2 direct and 0.1 cited do not add up to an answer; most stays open."""
    memory = remembered(("answer", "3", 0.1))
    found = from_combined(Verdict("yes", cites=(1,)), memory, (Candidate("yes", 0.2),), same_text, 0.9)
    assert found.confidence < 0.3
    assert found.outside > 0.7


def test_without_a_second_opinion_combined_is_the_one_that_there_is():
    """Citing no answer: the direct one. No direct answer: what is cited, in full. A gap in what is cited: unknown."""
    memory = remembered(("answer", "3", 0.8), ("answer", "4", None))
    direct = (Candidate("yes", 0.7), Candidate("no", 0.3))
    assert from_combined(Verdict("no"), memory, direct, same_text, 0.9).confidence == pytest.approx(0.3)
    assert from_combined(Verdict("no", cites=(1,)), memory, (), same_text, 0.9).confidence == pytest.approx(0.8)
    assert from_combined(Verdict("no", cites=(1, 2)), memory, direct, same_text, 0.9) == Estimate()
    assert from_combined(Verdict(None, cites=(1,)), memory, direct, same_text, 0.9) == Estimate()


def test_a_conclusion_that_cites_nothing_is_no_opinion_and_what_a_tool_found_is():
    """For another answer than the direct one it gets nothing; citing what a tool read, it counts as much as that."""
    memory = remembered(("caption", "a sign", 0.9), ("found", "STOP", 0.99))
    direct = (Candidate("go", 0.3),)
    bare = from_combined(Verdict("stop", cites=(1,)), memory, direct, same_text, 0.9)
    assert (bare.confidence, bare.belief[0], bare.outside) == (0.0, Candidate("go", 0.3), pytest.approx(0.7))
    read = from_combined(Verdict("stop", cites=(2,)), memory, direct, same_text, 0.9)
    assert read.belief[0].answer == "stop"
    assert read.confidence == pytest.approx(0.7 * 0.891 / (0.7 * 0.891 + 0.3 * 0.109 + 0.7 * 0.109))


def test_no_direct_answer_outweighs_a_persons_word():
    """What a person told is certain, however sure the answerer was of the contrary."""
    memory = remembered(("told", "there are none", None))
    sure = (Candidate("yes", 0.99), Candidate("no", 0.01))
    assert from_combined(Verdict("no", cites=(1,)), memory, sure, same_text, 0.9).belief == (Candidate("no", 1.0),)


def test_a_verdict_that_cites_nothing_rests_on_the_direct_answer():
    """Without cited answers the confidence is what the answerer, asked directly, gives the verdict's answer."""
    direct = (Candidate("yes", 0.7), Candidate("no", 0.3))
    assert from_cited(Verdict("no"), EMPTY, direct, same_text).confidence == pytest.approx(0.3)
    assert from_cited(Verdict(None), EMPTY, direct, same_text).confidence is None
