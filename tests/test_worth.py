"""What a question is worth: how far an answerer that errs is expected to move the belief, net of cost."""

from __future__ import annotations

import random

import pytest
import written
from written import ABLE, Script, scored, verdict

from iterreason.errors import BadPolicy
from iterreason.folding import same_text
from iterreason.loop import episode
from iterreason.plan import Plan, resolve
from iterreason.policy import read_policy
from iterreason.records import Candidate, Verdict
from iterreason.reliability import Count, Reliability
from iterreason.worth import expected_change, likelihoods, prior_of

YES_NO = (("yes", "yes"), ("no", "no"))


def plan(cost: float = 0.02, counts: tuple[Count, ...] = (), questions: int = 1) -> Plan:
    text = written.policy(questions=f"questions = {questions}").text
    head, mark, tail = text.partition("[rounds]")
    table = f'[ask]\nkeep = "worth"\npropose = 4\ncost = {cost}\n'
    named = read_policy(f"{head}{table}{mark}{tail}", "evidence")
    return resolve(named, ABLE, [ABLE], reliability=Reliability(counts))


def question(text: str, **means: str) -> dict[str, object]:
    return {"question": text, "means": [{"answer": a, "speaks_for": c} for a, c in means.items()]}


def test_a_sure_answerer_is_worth_the_doubt_that_it_ends():
    """Asked what decides, one that never errs moves an even belief by one half; one that guesses moves nothing."""
    even = {"yes": 0.5, "no": 0.5}
    assert expected_change(even, YES_NO, 1.0) == pytest.approx(0.5)
    assert expected_change(even, YES_NO, 0.5) == pytest.approx(0.0)
    assert expected_change(even, YES_NO, 0.8) == pytest.approx(0.3)
    assert expected_change({"yes": 1.0, "no": 0.0}, YES_NO, 1.0) == pytest.approx(0.0)
    assert expected_change(even, (("yes", "yes"), ("no", "yes")), 1.0) == pytest.approx(0.0)


def test_the_worth_is_what_a_simulated_answerer_brings():
    """Over many draws of truth and of an answerer that errs as often as stated, the mean change is the stated one."""
    prior, reliability = {"cat": 0.5, "dog": 0.3, "cow": 0.2}, 0.75
    means = (("small", "cat"), ("large", "cow"), ("middling", "dog"))
    speaks, wrong = dict(means), (1 - reliability) / 2
    rng, total, n = random.Random(7), 0.0, 40_000
    for _ in range(n):
        truth = rng.choices(list(prior), list(prior.values()))[0]
        right = next(answer for answer, of in means if of == truth)
        said = right if rng.random() < reliability else rng.choice([a for a in speaks if a != right])
        likely = {c: reliability if speaks[said] == c else wrong for c in prior}
        whole = sum(prior[c] * likely[c] for c in prior)
        total += sum(abs(prior[c] * likely[c] / whole - prior[c]) for c in prior) / 2
    assert expected_change(prior, means, reliability) == pytest.approx(total / n, abs=0.005)


@pytest.mark.parametrize("reliability", [0.7, 0.85])
def test_asking_by_worth_takes_fewer_questions_to_be_right_as_often(reliability):
    """Against a known noisy answerer, 8 'is it …?' chosen by worth are right no less often than 10 in the order
    proposed: a fifth fewer."""
    prior = {"cat": 0.05, "dog": 0.1, "cow": 0.4, "hen": 0.45}
    rng, right = random.Random(3), {"first": 0, "worth": 0}
    for _ in range(1_000):
        truth = rng.choices(list(prior), list(prior.values()))[0]
        noise = [rng.random() for _ in range(10)]
        for how, count in (("first", 10), ("worth", 8)):
            belief = dict(prior)
            for step in range(count):
                worths = {name: expected_change(belief, (("yes", name),), reliability) for name in prior}
                name = max(worths, key=lambda n: worths[n]) if how == "worth" else list(prior)[step % len(prior)]
                true, other = ("yes", "") if name == truth else ("", "yes")
                likely = likelihoods(belief, (("yes", name),), reliability)
                said = likely[true if noise[step] < reliability else other]
                whole = sum(belief[c] * said[c] for c in belief)
                belief = {c: belief[c] * said[c] / whole for c in belief}
            right[how] += max(belief, key=lambda n: belief[n]) == truth
    assert right["worth"] >= right["first"]


def test_mass_outside_goes_to_the_choices_without_an_estimate():
    """`cited` gives one choice its probability; the others share what is left. An open question keeps a rest."""
    verdict = Verdict("red", belief=(Candidate("red", 0.7),), outside=0.3)
    assert prior_of(verdict, ("red", "blue", "green"), same_text) == pytest.approx(
        {"red": 0.7, "blue": 0.15, "green": 0.15}
    )
    assert prior_of(verdict, (), same_text) == pytest.approx({"red": 0.7, "": 0.3})


def test_only_the_questions_worth_most_are_put():
    """Of those proposed the best is asked, the others are told as dropped, and a prompt says nothing of it."""
    proposed = [question("is it sunny?", yes="yes", no="yes"), question("is it red?", yes="yes", no="no")]
    script = Script([verdict("yes", *proposed), verdict("yes"), verdict("yes")], scored(0.5, 0.4))
    result = script.play(episode(written.problem(), plan()))
    asked = [e.question for e in result.memory.evidence if e.round == 2]
    assert asked == ["is it red?"]
    first = result.rounds[0].verdict
    assert [q.text for q in first.dropped] == ["is it sunny?"]
    assert "not worth asking: is it sunny? (worth 0.00)" in str(result)


def test_what_is_not_worth_its_cost_ends_the_episode():
    """Where the belief is all but settled no answer moves it enough: nothing is asked and the episode is dry."""
    asking = verdict("yes", question("is it red?", yes="yes", no="no"))
    script = Script([asking, asking, asking, asking], scored(0.985, 0.015))
    result = script.play(episode(written.problem(), plan(cost=0.1)))
    # Before round 2 (`rounds.min`) the best question is put whatever it is worth.
    assert len(result.rounds) == 2
    assert result.rounds[-1].stops[-1] == "dry: no new question"


def test_an_unreliable_answerer_makes_a_question_worth_less():
    """The counts of this kind of question go into the worth."""
    asking = [verdict("yes", question("is it red?", yes="yes", no="no")), verdict("yes")]
    worths = []
    for right in (98, 50):
        script = Script(asking, scored(0.5, 0.5))
        fitted = plan(counts=(Count(ABLE.model, "yes-no", right, 98),))
        worths.append(script.play(episode(written.problem(), fitted)).rounds[0].verdict.questions[0].worth)
    assert worths[0] > worths[1]


def test_a_question_that_says_nothing_comes_after_those_that_do():
    """Its worth is unknown, neither zero nor guessed: it is put only where there is room."""
    proposed = ["what is there?", question("is it red?", yes="yes", no="no")]
    for count, asked in ((1, ["is it red?"]), (2, ["is it red?", "what is there?"])):
        script = Script([verdict("yes", *proposed), verdict("yes"), verdict("yes")], scored(0.5, 0.5))
        result = script.play(episode(written.problem(), plan(questions=count)))
        assert [q.text for q in result.rounds[0].verdict.questions] == asked


def test_a_policy_that_could_not_heed_it_is_refused():
    """Proposing fewer than may be asked contradicts itself."""
    with pytest.raises(BadPolicy, match=r"ask\.propose"):
        plan(questions=5)
