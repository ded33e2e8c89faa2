"""The shipped re-creations of published systems: the sequence of calls that each source describes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from scipy.stats import beta
from written import Script, plan, problem, said, scored, verdict

from iterreason.calls import Capabilities, Reply, Sample
from iterreason.errors import BadProblem
from iterreason.exemplars import read_exemplars, with_exemplars
from iterreason.images import load_image
from iterreason.loop import episode
from iterreason.policy import find_policy
from iterreason.records import Exemplar, Verdict
from iterreason.voting import leading, majority_probability

TEXT = Capabilities("text", schema=True, scores=True)
REASON = '{"rationale": "There are 3 red ones and 1 blue one.", "cites": [1]}'
ANSWER = '{"answer": "yes"}'


def course(script: Script) -> list[str]:
    """Slot and purpose of each call, turn by turn."""
    return [" ".join(f"{c.slot.partition(':')[0]}/{c.purpose}" for c in t.calls) for t in script.turns if t.calls]


def last(call) -> str:
    return call.prompt.messages[-1].text


# ------------------------------------------------------------------ cot


def test_cot_writes_the_rationale_first_and_the_answer_from_it():
    """A blind reasoner gets caption and direct answer; one reply reasons, the next answers in the same conversation."""
    script = Script([REASON, ANSWER], scored(0.8, 0.2), lambda question: "yes" if question else "three red circles")
    result = script.play(episode(problem(), plan("cot", reasoner=TEXT)))
    assert course(script) == [
        "answerer/look answerer/look",
        "reasoner/generation",
        "reasoner/generation",
        "reasoner/readout",
    ]
    first, second, readout = script.calls[2:]
    assert last(first).endswith("Write the rationale.")
    assert "[1] Caption: three red circles" in last(first)
    assert list(json.loads(first.schema)["properties"]) == ["rationale", "cites"]
    assert second.prompt.starts_with(first.prompt)
    assert [m.text for m in second.prompt.messages[-2:]] == [REASON, last(second)]
    assert last(second).startswith("So what is the answer to: Are there more red")
    assert list(json.loads(second.schema)["properties"]) == ["answer"]
    assert readout.prompt.starts_with(second.prompt)
    assert (result.answer, result.rounds[0].verdict.cites, result.reasoner_sees_image) == ("yes", (1,), False)
    assert result.rounds[0].verdict.rationale == "There are 3 red ones and 1 blue one."


def test_a_reasoner_that_sees_gets_the_image_instead_of_looks():
    """`sees_image = "instead"`: where the reasoner takes images, no look is made and both its replies see the image."""
    script = Script([REASON, ANSWER], scored(0.8, 0.2))
    result = script.play(episode(problem(), plan("cot")))
    assert course(script) == ["reasoner/generation", "reasoner/generation", "reasoner/readout"]
    assert all(len(call.prompt.messages[1].views) == 1 for call in script.calls)
    assert result.reasoner_sees_image
    assert result.models == ("written",)


# ------------------------------------------------------------------ exemplars


def pool(count: int = 6) -> tuple[Exemplar, ...]:
    from written import image

    kinds = ("how many dogs are there?", "is the cat black?", "what color is the car?")
    return tuple(Exemplar((image(f"e{n}"),), f"{kinds[n % 3]} {n}", f"answer {n}") for n in range(count))


def test_exemplars_stand_before_the_problem_image_before_text():
    """A reasoner that sees: k exchanges, each image before its text, then the problem in the same form; one reply."""
    asked = with_exemplars(problem("what color is the bus?"), find_policy("exemplars").policy, pool())
    script = Script([verdict("yes")], scored(0.8, 0.2))
    script.play(episode(asked, plan("exemplars")))
    assert course(script) == ["reasoner/generation", "reasoner/readout"]
    messages = script.calls[0].prompt.messages
    assert [m.role for m in messages] == ["system", *["user", "assistant"] * 4, "user"]
    assert [len(m.views) for m in messages[1::2]] == [1] * 5
    assert json.loads(messages[8].text)["answer"] in ("answer 2", "answer 5")
    assert "what color is the car?" in messages[7].text
    assert "what color is the bus?" in messages[9].text


def test_exemplars_are_captioned_for_a_reasoner_that_sees_none():
    """PICa: the answerer captions each exemplar's image in one turn; the caption stands where the image would."""
    asked = with_exemplars(problem(), find_policy("exemplars").policy, pool(4))
    script = Script([verdict("yes")], scored(0.8, 0.2), lambda question: question or "a drawn scene")
    script.play(episode(asked, plan("exemplars", reasoner=TEXT)))
    assert course(script) == [
        " ".join(["answerer/look"] * 4),
        "answerer/look answerer/look",
        "reasoner/generation",
        "reasoner/readout",
    ]
    shown = script.calls[6].prompt.messages[1]
    assert shown.views == ()
    assert shown.text.endswith("Evidence:\n[1] Caption: a drawn scene")


def test_exemplars_are_chosen_at_random_by_a_seed():
    """The same seed chooses the same exemplars for a problem; another seed, or problem, others."""
    policy = replace(find_policy("exemplars").policy, exemplars_by="random")

    def chosen(seed: int, question: str = "is it red?"):
        return with_exemplars(problem(question), policy, pool(40), seed).exemplars

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    assert chosen(1) != chosen(1, "is it blue?")
    assert len(set(chosen(1))) == 4


def test_exemplars_are_chosen_by_the_image(tmp_path):
    """`exemplars_by = "image"` takes those that look most alike, the most similar one last."""
    from PIL import Image as Pixels

    def painted(red: int):
        Pixels.new("RGB", (40, 40), (red, 0, 0)).save(path := tmp_path / f"{red}.png")
        return load_image(path)

    policy = replace(find_policy("exemplars").policy, exemplars_by="image", exemplars=2)
    shown = [Exemplar((painted(red),), "what?", str(red)) for red in (0, 100, 180, 250)]
    asked = with_exemplars(replace(problem(), images=(painted(190),)), policy, shown)
    assert [exemplar.answer for exemplar in asked.exemplars] == ["250", "180"]


def test_too_few_exemplars_are_refused_and_the_problem_itself_is_none():
    """Fewer than the policy shows is an error with the next step; the very problem never stands among its exemplars."""
    policy = find_policy("exemplars").policy
    own = Exemplar(problem().images, problem().question, "yes")
    with pytest.raises(BadProblem, match=r"4 worked exemplars and there are 3 .* --exemplars FILE\.jsonl"):
        with_exemplars(problem(), policy, (*pool(3), own))


def test_a_pool_is_read_from_a_file(tmp_path):
    """Each line has image, question and answer; what lacks one is named with its line."""
    from PIL import Image as Pixels

    Pixels.new("RGB", (8, 8)).save(tmp_path / "a.png")
    good = {"image": "a.png", "question": "is it red?", "answer": "no", "rationale": "It is black."}
    path = tmp_path / "pool.jsonl"
    path.write_text(json.dumps(good) + "\n\n", encoding="utf-8")
    (read,) = read_exemplars(path)
    assert (read.question, read.answer, read.rationale, read.images[0].width) == ("is it red?", "no", "It is black.", 8)
    for bad in ('{"image": "a.png"}', "[]", '{"image": "a.png", "question": 3, "answer": "x"}', "{"):
        path.write_text(json.dumps(good) + "\n" + bad, encoding="utf-8")
        with pytest.raises(Exception, match="line 2"):
            read_exemplars(path)


# ------------------------------------------------------------------ chat-captioner


def test_chat_captioner_asks_one_question_a_round_and_concludes_once():
    """A detailed caption, nine rounds of one question and one look, then one summary with answer and read-out."""
    asked = [json.dumps({"questions": [f"what is thing {n}?", "and a second?"]}) for n in range(9)]
    script = Script([*asked, verdict("yes")], scored(0.8, 0.2))
    result = script.play(episode(problem(), plan("chat-captioner")))
    assert course(script) == [
        "answerer/look",
        *["reasoner/generation", "answerer/look"] * 9,
        "reasoner/generation",
        "reasoner/readout",
    ]
    assert "Describe this image in detail." in last(script.calls[0])
    questions = script.calls[1:19:2]
    assert all(last(call).endswith("Your next question. Avoid yes/no questions.") for call in questions)
    assert [last(call).count("what is thing") for call in questions] == list(range(9))
    assert all(call.sampling.temperature == 0.6 for call in questions)
    summary = script.calls[-2]
    assert last(summary).endswith("Sum up, then answer.")
    assert last(summary).count("what is thing") == 9
    assert [r.verdict.answer for r in result.rounds] == [None] * 8 + ["yes"]
    assert (result.answer, result.stop_reason) == ("yes", "budget: rounds")


# ------------------------------------------------------------------ recoverr


def looks(direct: float, questions: dict[str, Reply]):
    def look(question: str) -> Reply:
        if not question:
            return said("some shapes", 0.3)
        return questions.get(question, said("yes", direct))

    return look


def hypothesis(probability: float) -> Reply:
    return scored(probability, 1 - probability)


RECOVERR = replace(problem("Is there a red circle?", ()), id="r")


def test_recoverr_gives_a_sure_direct_answer_at_once():
    """A direct answer with enough probability is given with no word from the reasoner."""
    script = Script([], [], looks(0.95, {}))
    result = script.play(episode(RECOVERR, plan("recoverr")))
    assert course(script) == ["answerer/look answerer/look"]
    assert (result.answer, result.stop_reason) == ("yes", "confident: 0.95 ≥ 0.90")


def test_recoverr_looks_for_reliable_and_relevant_evidence_until_it_entails():
    """Caption first; then questions, two read-outs for the relevance of each reliable answer, one over all."""
    ask = json.dumps({"questions": ["is it round?", "is it red?", "is it day?"]})
    answers = {"is it round?": said("yes", 0.97), "is it red?": said("yes", 0.5), "is it day?": said("no", 0.9)}
    readouts = [hypothesis(0.4)]  # of the caption alone
    readouts += [hypothesis(0.8), hypothesis(0.2)]  # round: so, and not so
    readouts += [hypothesis(0.5), hypothesis(0.45)]  # day: so, and not so
    readouts += [hypothesis(0.93)]
    script = Script([ask], readouts, looks(0.6, answers))
    result = script.play(episode(RECOVERR, plan("recoverr")))
    assert course(script) == [
        "answerer/look answerer/look",
        "reasoner/readout",
        "reasoner/generation",
        "answerer/look answerer/look answerer/look",
        "reasoner/readout reasoner/readout reasoner/readout reasoner/readout",
        "reasoner/readout",
    ]
    caption, ask_call, *_, whole = [c for c in script.calls if c.slot == "reasoner"]
    assert last(caption).startswith("Known from an image:\nsome shapes\nIs it then right")
    assert 'the answer to "Is there a red circle?" is "yes"' in last(caption)
    assert "Is there a red circle? yes (probability 0.60)" in last(ask_call)
    weighed = [last(c).splitlines()[1] for c in script.calls if c.purpose == "readout"][1:5]
    assert weighed == ["is it round? yes", "is it round? not yes", "is it day? no", "is it day? not no"]
    assert last(whole).splitlines()[1:3] == ["some shapes", "is it round? yes"]
    assert (result.answer, result.confidence) == ("yes", pytest.approx(0.93))
    assert result.stop_reason == "confident: 0.93 ≥ 0.90"


def test_recoverr_abstains_where_nothing_entails():
    """After the last turn an answer that is not entailed is not given; the same evidence is never measured twice."""
    asks = [json.dumps({"questions": [f"is thing {n} red?"]}) for n in range(4)]
    answers = {f"is thing {n} red?": said("no", 0.2) for n in range(4)}
    script = Script(asks, hypothesis(0.3), looks(0.6, answers))
    result = script.play(episode(RECOVERR, plan("recoverr")))
    assert course(script)[2:] == ["reasoner/generation", "answerer/look"] * 4
    assert (result.abstained, result.best_guess, len(result.rounds)) == (True, "yes", 5)


def test_recoverr_samples_a_reasoner_that_gives_no_scores():
    """Without choice scores the probability of `yes` is its share of all samples, those included that say neither."""
    voter = Capabilities("voter", schema=True)
    votes = Reply(tuple(Sample(text) for text in [*"AAAAA", "B", "hm", "so"]))
    script = Script(['{"questions": ["is it round?"]}'] * 4, votes, looks(0.6, {}))
    result = script.play(episode(RECOVERR, plan("recoverr", reasoner=voter)))
    assert script.calls[2].sampling.n == 8
    assert result.rounds[0].verdict.confidence == pytest.approx(5 / 8)


# ------------------------------------------------------------------ vote


def test_vote_samples_until_the_leader_is_sure():
    """Each round is one sample of the very same prompt; four that agree are enough: the posterior is then 31/32."""
    script = Script([verdict("yes")] * 40)
    result = script.play(episode(problem(), plan("vote", reasoner=TEXT)))
    assert course(script) == ["answerer/look answerer/look", *["reasoner/generation"] * 4]
    generations = script.calls[2:]
    assert len({c.prompt.digest for c in generations}) == 1
    assert [c.sample for c in generations] == [0, 1, 2, 3]
    assert len({c.key for c in generations}) == 4
    assert {c.sampling.temperature for c in generations} == {0.7}
    assert (result.confidence, result.confidence_source) == (31 / 32, "majority")
    assert result.stop_reason == "confident: 0.97 ≥ 0.95"


def test_vote_answers_with_the_majority_and_not_with_the_last_sample():
    """The verdict of a round is what all samples so far come to."""
    script = Script([verdict(a) for a in ("no", "yes", "no", "yes", "no", "yes")])
    result = script.play(episode(problem(), plan("vote", max="max = 6")))
    assert [r.verdict.answer for r in result.rounds] == ["no"] * 6
    assert (result.answer, result.stop_reason) == ("no", "budget: rounds")
    assert [r.verdict.confidence for r in result.rounds] == [0.75, 0.5, 0.6875, 0.5, 0.65625, 0.5]
    assert [(c.answer, c.probability) for c in result.rounds[-1].verdict.belief] == [("no", 0.5), ("yes", 0.5)]


def test_a_sample_that_cannot_be_read_counts_for_no_answer():
    """The vote goes on, its share is outside the answers; a model whose first sample cannot be read has failed."""
    script = Script([verdict("yes"), "what?", "what?", verdict("yes"), verdict("yes"), verdict("yes")])
    result = script.play(episode(problem(), plan("vote", reasoner=TEXT)))
    assert [r.verdict.answer for r in result.rounds] == ["yes"] * 5
    assert (result.answer, result.usage.reasks) == ("yes", 1)
    assert result.rounds[-1].verdict.outside == pytest.approx(1 / 5)
    failed = Script(["what?", "what?"]).play(episode(problem(), plan("vote", reasoner=TEXT)))
    assert "could not be read, twice" in (failed.error or "")


@pytest.mark.parametrize(("first", "second"), [(1, 0), (3, 0), (4, 0), (5, 5), (7, 2), (25, 15)])
def test_the_majority_is_the_tail_of_a_beta_posterior(first, second):
    """The exact sum equals scipy's survival function of Beta(first + 1, second + 1) at one half."""
    assert majority_probability(first, second) == pytest.approx(beta.sf(0.5, first + 1, second + 1), abs=1e-12)


def test_answers_that_are_the_same_are_one_candidate_of_a_vote():
    """Votes are counted after folding; the verdict keeps the rationale of the latest sample that gives the answer."""
    samples = [Verdict("A dog.", "first"), Verdict("cat", "second"), Verdict("dog", "third")]
    found = leading(samples, plan().same)
    assert (found.answer, found.rationale) == ("A dog.", "third")
    assert found.outside == 0
