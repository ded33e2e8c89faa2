"""The loop, driven by written replies."""

from __future__ import annotations

import json

import pytest
from written import ABLE, Script, image, plan, policy, problem, said, scored, verdict

from iterreason import calls
from iterreason.calls import DEADLINE, Asked, Capabilities, Looked, Reply, Sample, Stopped, Tokens, Told, Vetoed, View
from iterreason.errors import BadProblem
from iterreason.loop import episode
from iterreason.memory import EMPTY
from iterreason.plan import resolve
from iterreason.policy import NamedPolicy, read_policy
from iterreason.records import Exemplar, Problem, Question, Region, Retraction

ONE = "min = 1"  # for episodes that are to end in their first round


def count(question: str) -> str:
    return {"how many red circles are there?": "3", "how many blue squares are there?": "1"}.get(question, "yes")


def test_a_round_asks_looks_and_concludes():
    """Each round puts the last verdict's questions to the answerer at once, then concludes in one generation."""
    red, blue = "how many red circles are there?", "how many blue squares are there?"
    script = Script([verdict("yes", red, blue), verdict("yes", cites=(3, 4))], scored(0.95, 0.01), count)
    result = script.play(episode(problem(), plan()))
    assert script.purposes == ["look look", "generation", "readout", "look look", "generation", "readout"]
    assert [(e.number, e.question, e.answer, e.round) for e in result.memory.evidence] == [
        (1, "", "yes", 0),
        (2, "Are there more red circles than blue squares?", "yes", 0),
        (3, red, "3", 2),
        (4, blue, "1", 2),
    ]
    assert result.answer == "yes"
    assert result.rounds[1].verdict.cites == (3, 4)
    assert result.rounds[1].evidence == (3, 4)


def test_a_change_of_mind_buys_another_round():
    """Confidence alone does not stop the loop; an answer that also stood a round does."""
    replies = [verdict("yes", "is it red?"), verdict("no", "is it blue?"), verdict("no", "is it big?")]
    script = Script(replies, [scored(0.95, 0.05), scored(0.05, 0.95), scored(0.05, 0.95)])
    result = script.play(episode(problem(), plan()))
    assert len(result.rounds) == 3
    assert result.answer == "no"
    assert result.stop_reason == "confident: 0.95 ≥ 0.90, stable: same answer for 2 rounds"


def test_no_new_question_ends_it():
    """The loop stops dry when the reasoner asks nothing, or only what is known already."""
    asked_before = "Are there more red circles than blue squares"
    for questions in ((), (asked_before,)):
        script = Script([verdict("yes", *questions)], scored(0.6, 0.4))
        assert script.play(episode(problem(), plan(min=ONE))).stop_reason == "dry: no new question"


def test_the_last_round_ends_it():
    """Without a rule that holds, the loop ends after the policy's last round."""
    script = Script([verdict("yes", f"what is thing {n}?") for n in range(4)], scored(0.6, 0.4))
    result = script.play(episode(problem(), plan()))
    assert (len(result.rounds), result.stop_reason, result.answer) == (4, "budget: rounds", "yes")


def test_a_doubtful_answer_is_not_given():
    """Below `abstain_below` the answer stays back, with the best guess and the question that would help most."""
    script = Script([verdict("yes", f"what is thing {n}?") for n in range(4)], scored(0.3, 0.7))
    result = script.play(episode(problem(), plan()))
    assert result.answer is None
    assert result.abstained
    assert (result.best_guess, result.next_question) == ("yes", "what is thing 3?")
    assert result.confidence == pytest.approx(0.3)


def test_a_bad_reply_is_shown_to_the_model_once():
    """The re-ask quotes the bad reply and what was wrong; the next round's prompt holds only the good one."""
    bad, good = "1. Is it red?\n2. Is it blue?" + "x" * 600, verdict("yes", "is it red?")
    script = Script([bad, good, verdict("yes")], scored(0.6, 0.4))
    result = script.play(episode(problem(), plan()))
    generation, reask = [c for c in script.calls if c.purpose in ("generation", "reask")][:2]
    assert reask.purpose == "reask"
    assert reask.prompt.starts_with(generation.prompt)
    quoted, shown = reask.prompt.messages[-2:]
    assert quoted.text == bad[:500]
    assert "no JSON object" in shown.text
    assert result.usage.reasks == 1
    last = [c for c in script.calls if c.purpose == "generation"][-1]
    assert good in [m.text for m in last.prompt.messages]
    assert bad[:500] not in [m.text for m in last.prompt.messages]


def test_a_reply_bad_twice_is_an_error_and_not_an_answer():
    """After one re-ask the episode ends with an error that says why; no answer is made up."""
    script = Script(["nonsense", "still nonsense"])
    result = script.play(episode(problem(), plan()))
    assert result.answer is None
    assert not result.abstained
    assert result.error is not None
    assert "could not be read, twice" in result.error
    assert result.stop_reason == "error"
    assert any(isinstance(e, calls.ReplyRejected) for e in script.events)


def test_a_failing_reasoner_is_an_error_that_keeps_what_was_learned():
    """When the reasoner fails, the memory and the earlier rounds stay in the result."""
    script = Script([verdict("yes", "is it red?"), Reply(error="connection refused")], scored(0.6, 0.4))
    result = script.play(episode(problem(), plan()))
    assert (result.answer, result.error) == (None, "the reasoner failed: connection refused")
    assert (len(result.rounds), len(result.memory)) == (1, 3)


def test_one_failed_look_is_evidence_and_all_failed_is_an_error():
    """A look that fails becomes evidence of kind `error`; only when every look of a turn fails is it the end."""
    broken = Script(
        [verdict("yes", "is it red?", "is it blue?"), verdict("yes")],
        scored(0.6, 0.4),
        lambda q: Reply(error="out of memory") if "red" in q and "?" in q and "more" not in q else "yes",
    )
    result = broken.play(episode(problem(), plan()))
    assert [(e.kind, e.answer) for e in result.memory.evidence if e.round == 2] == [
        ("error", "out of memory"),
        ("answer", "yes"),
    ]
    assert result.error is None
    assert "No answer: out of memory" in broken.calls[-2].prompt.messages[-1].text
    dead = Script([], look=lambda q: Reply(error="connection refused"))
    assert dead.play(episode(problem(), plan())).error == "the answerer failed: connection refused"


def test_an_empty_answer_is_no_answer():
    """A look that says nothing is recorded as an error, not as an empty fact."""
    script = Script([verdict()], look=lambda q: "  " if not q else "yes")
    result = script.play(episode(problem(), plan(min=ONE)))
    assert result.memory[1].kind == "error"


@pytest.mark.parametrize(
    ("budget", "reason"),
    [("calls = 6", "budget: calls"), ("tokens = 500", "budget: tokens"), ("seconds = 3.5", "budget: seconds")],
)
def test_a_spent_budget_ends_with_the_best_verdict_so_far(budget, reason):
    """Calls, tokens and seconds are bounds; what was concluded within them is the result."""
    named = policy("evidence", abstain_below=f"abstain_below = 0.5\nbudget.{budget}")
    script = Script([verdict("yes", f"what is thing {n}?") for n in range(4)], scored(0.6, 0.4))
    base = plan()
    result = script.play(episode(problem(), base.with_policy(named)))
    assert result.stop_reason == reason
    assert result.answer == "yes"
    assert 1 <= len(result.rounds) < 4


def test_a_call_cut_off_by_the_deadline_is_a_budget_and_not_an_error():
    """The driver is told the seconds left; a call that outlasts them ends the episode with its best verdict."""
    named = policy("evidence", abstain_below="abstain_below = 0.5\nbudget.seconds = 10")
    script = Script([verdict("yes", "is it red?"), Reply(error=DEADLINE)], scored(0.6, 0.4), elapsed=1.0)
    result = script.play(episode(problem(), plan().with_policy(named)))
    assert (result.stop_reason, result.answer, result.error) == ("budget: seconds", "yes", None)
    assert [t.seconds_left for t in script.turns if t.calls] == [10, 9, 8, 7, 6]


def test_the_context_ends_the_loop_before_it_overflows():
    """A prompt that the reasoner's context cannot hold is not sent; nothing is dropped to make it fit."""
    small = Capabilities("small", schema=True, scores=True, context_tokens=700)
    tokens = Tokens(450, 0, 40)
    script = Script([said(verdict("yes", "is it red?"), tokens=tokens), verdict()], scored(0.6, 0.4))
    result = script.play(episode(problem(), plan(reasoner=small)))
    assert (result.stop_reason, result.answer) == ("budget: context", "yes")
    told = Script([Reply(error="context: 5000 tokens")])
    assert told.play(episode(problem(), plan())).stop_reason == "budget: context"


def test_usage_counts_each_kind_of_call_apart():
    """Generations, read-outs, re-asks and looks are counted apart, tokens and both kinds of seconds summed."""
    script = Script(["bad", verdict("yes", "is it red?"), verdict("yes")], scored(0.6, 0.4))
    usage = script.play(episode(problem(), plan())).usage
    assert (usage.generations, usage.readouts, usage.reasks, usage.looks) == (2, 2, 1, 3)
    assert usage.calls == 8
    assert usage.elapsed_seconds == 7
    assert usage.call_seconds == pytest.approx(6 * 0.5 + 2 * 0.1)
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (840, 580, 122)


def test_votes_are_samples_of_the_readout():
    """Without scores the read-out is sampled; the share of votes is the confidence, the rest is outside."""
    able = Capabilities("voter", schema=True)
    votes = Reply(tuple(Sample(text) for text in ("A", "B)", "A", "maybe", "yes")))
    script = Script([verdict("yes")], votes)
    result = script.play(episode(problem(), plan(reasoner=able, min=ONE, confidence='confidence = ["vote"]')))
    assert result.confidence_source == "vote"
    assert script.calls[-1].sampling.n == 5
    assert result.confidence == pytest.approx(3 / 4)
    assert result.rounds[0].verdict.outside == pytest.approx(1 / 5)


def test_an_open_question_is_scored_over_the_answers_so_far():
    """Open answers become lettered candidates, the same one once, with a way out."""
    script = Script(
        [verdict("Red", "is it big?"), verdict("the red"), verdict("red")], scored(0.7, 0.3), lambda q: "red"
    )
    result = script.play(episode(problem("What color is it?", ()), plan()))
    assert script.calls[-1].choices == ("A", "B")
    assert "A: Red\nB: none of these" in script.calls[-1].prompt.messages[-1].text
    assert result.confidence == pytest.approx(0.7)


def test_direct_is_one_look_and_no_generation():
    """The policy `direct` takes the answerer's answer and its probability, and calls no reasoner."""
    able = Capabilities("vqa", chats=False, looks=True, logprobs=True, scores=True)
    direct = resolve(policy("direct"), None, [able])
    script = Script([], look=lambda q: Reply((Sample("no"),), (-2.0, -0.5)))
    result = script.play(episode(problem(), direct))
    assert script.purposes == ["look"]
    assert script.calls[0].choices == ("yes", "no")
    assert result.answer == "no"
    assert result.confidence == pytest.approx(0.8176, abs=1e-4)
    assert result.models == ("vqa",)


def _sampled(samples: int = 5, temperature: str = "0.7") -> NamedPolicy:
    return policy("direct", first=f'first = ["question"]\nsamples = {samples}\ntemperature = {temperature}')


def _votes(*texts: str) -> Reply:
    return Reply(tuple(Sample(text) for text in texts), tokens=Tokens(50, 0, 5))


@pytest.mark.parametrize(
    ("texts", "answer", "share"),
    [
        (("no", "Yes.", "yes", "no", "no"), "no", 0.6),
        (("yes", "no", "no", "YES", "maybe"), "yes", 0.4),
        (("perhaps", "", "no", "B", "hm"), "no", 0.4),
    ],
)
def test_a_sampled_direct_look_takes_the_majority(texts, answer, share):
    """The answer given most often, of equals the one said first; its share of all samples is its probability."""
    able = Capabilities("vqa", chats=False, looks=True)  # gives no probabilities of its own
    script = Script([], look=lambda q: _votes(*texts))
    result = script.play(episode(problem(), resolve(_sampled(), None, [able]), seed=4))
    (call,) = script.calls
    assert (call.sampling.n, call.sampling.temperature, call.sampling.seed) == (5, 0.7, 4)
    assert (result.answer, result.confidence) == (answer, pytest.approx(share))
    likeliest = result.rounds[0].verdict.belief[0]
    assert (likeliest.answer, likeliest.probability) == (answer, pytest.approx(share))
    assert result.usage.looks == 1


def test_an_open_question_counts_folded_answers():
    """Two spellings of one answer are one; the spelling said first is given."""
    script = Script([], look=lambda q: _votes("blue", "The red one.", "red one", "Red One", ""))
    result = script.play(episode(problem(choices=()), resolve(_sampled(), None, [ABLE])))
    assert (result.answer, result.confidence) == ("The red one.", pytest.approx(0.6))


def test_samples_that_name_no_choice_are_an_error():
    """A majority is never made of answers that are none of the choices."""
    script = Script([], look=lambda q: _votes("perhaps", "perhaps", "hm", "hm", "hm"))
    result = script.play(episode(problem(), resolve(_sampled(), None, [ABLE])))
    assert result.error == "the answerer's reply 'perhaps' is none of: yes, no"


def test_only_the_question_itself_is_sampled():
    """Captions and sub-questions stay greedy, one answer each, whatever the policy samples."""
    sampled = policy("evidence", first='first = ["caption", "question"]\nsamples = 3\ntemperature = 1.0', min="min = 1")
    looked = lambda q: _votes("yes", "yes", "no") if "circles than" in q else "a red circle"  # noqa: E731
    script = Script([verdict("yes", "is it red?"), verdict("yes")], scored(0.6, 0.4), looked)
    script.play(episode(problem(), resolve(sampled, ABLE, [ABLE])))
    looks = {call.look.question: (call.sampling.n, call.sampling.temperature) for call in script.calls if call.look}
    assert looks == {None: (1, 0.0), problem().question: (3, 1.0), "is it red?": (1, 0.0)}


def test_direct_refuses_an_answer_that_is_no_choice():
    """An answer outside the choices is an error with the answer in it, never the nearest choice."""
    script = Script([], look=lambda q: said("perhaps"))
    result = script.play(episode(problem(), plan("direct")))
    assert result.error == "the answerer's reply 'perhaps' is none of: yes, no"


def test_direct_refuses_several_images():
    """One look cannot answer for two images, and says so before any call."""
    with pytest.raises(BadProblem, match="the problem has 2"):
        next(episode(problem(images=2), plan("direct")))


def test_blind_sends_no_pixels_and_makes_no_look():
    """The policy `blind` is one generation and its read-out, with no image in any call."""
    script = Script([verdict("yes")], scored(0.6, 0.4))
    result = script.play(episode(problem(), resolve(policy("blind"), plan_caps(), [])))
    assert script.purposes == ["generation", "readout"]
    assert not any(message.views for call in script.calls for message in call.prompt.messages)
    assert len(result.memory) == 0


def plan_caps() -> Capabilities:
    return Capabilities("text", schema=True, scores=True)


def test_idealgpt_has_a_prompt_for_each_step():
    """`idealgpt` captions, asks, looks and concludes, with a fresh prompt for each; 'not sure' goes on."""
    ask = '{"questions": ["is it red?", "is it blue?"]}'
    more = '{"questions": ["is it big?"]}'
    unsure = '{"rationale": "The colour is known, not the size.", "cites": [2], "answer": "not sure"}'
    script = Script([ask, unsure, more, verdict("no")], scored(0.4, 0.6))
    result = script.play(episode(problem(), plan("idealgpt")))
    assert script.purposes == [
        "look",
        "generation",
        "look look",
        "generation",
        "generation",
        "look",
        "generation",
        "readout",
    ]
    assert (result.answer, result.stop_reason) == ("no", "answered")
    assert result.rounds[0].verdict.answer is None
    prompts = [c.prompt for c in script.calls if c.purpose == "generation"]
    assert len({p.messages[0].text for p in prompts}) == 3
    assert "The colour is known" in prompts[2].messages[-1].text
    assert "The colour is known" not in prompts[3].messages[-1].text


def test_idealgpt_must_answer_in_the_last_round():
    """The last round's prompt asks for a forced guess, and 'not sure' is asked again there."""
    ask = '{"questions": ["is thing %d red?"]}'
    unsure = '{"answer": "not sure"}'
    replies = [text for n in range(4) for text in (ask % n, unsure)]
    script = Script([*replies, verdict("no")], scored(0.4, 0.6))
    result = script.play(episode(problem(), plan("idealgpt")))
    assert (result.answer, result.stop_reason, result.usage.reasks) == ("no", "answered", 1)
    last = [c for c in script.calls if c.purpose == "generation"][-1]
    assert "you must choose one" in last.prompt.messages[0].text


def test_several_images_are_captioned_and_asked_about_by_number():
    """Each image is captioned; a question names its image, and evidence says which it is about."""
    question = {"image": 2, "question": "is there a dog?"}
    script = Script([verdict("yes", question), verdict("yes")], scored(0.6, 0.4))
    result = script.play(episode(problem(images=2), plan()))
    assert script.purposes[0] == "look look"
    look = next(c for c in script.calls if c.look and c.look.question == "is there a dog?")
    assert look.look is not None
    assert look.look.view.image == image("scene1")
    assert result.memory[3].image == 1
    assert "image 2: is there a dog?" in script.calls[-2].prompt.messages[-1].text


def test_a_person_can_tell_ask_veto_look_and_stop():
    """What a person says comes back with a turn and goes into the memory by appending."""
    region = Region(0, 0, 0.5, 0.5)
    notes = {
        2: (Told("the light is red"), Vetoed(1), Vetoed(99), Asked(Question("is it night?")), Looked(region)),
        5: (Stopped(),),
    }
    script = Script([verdict("yes", "is it red?"), verdict("no")], scored(0.6, 0.4), notes=notes)
    result = script.play(episode(problem(), plan()))
    asked = [(c.look.question, c.look.view.region) for c in script.turns[3].calls if c.look]
    assert asked == [("is it red?", None), ("is it night?", None), (None, region)]
    told = result.memory[3]
    assert (told.kind, told.answer, told.model) == ("told", "the light is red", "person")
    assert result.memory.withdrawn == {1}
    assert "[1] is withdrawn by person." in script.turns[4].calls[0].prompt.messages[-1].text
    assert result.stop_reason == "stopped by a person"


def test_a_follow_up_starts_from_what_is_known():
    """An episode can start from an earlier one's memory: it is shown, and not asked for again."""
    first = Script([verdict("yes", "is it red?"), verdict("yes")], scored(0.6, 0.4))
    known = first.play(episode(problem(), plan(min=ONE))).memory
    second = Script([verdict("yes", "is it red?")], scored(0.6, 0.4))
    result = second.play(episode(problem("Is it a fire engine?"), plan(min=ONE), start=known))
    assert result.stop_reason == "dry: no new question"
    assert second.purposes[0] == "look"
    assert [c.look.question for c in second.calls if c.look] == ["Is it a fire engine?"]
    assert "[3] is it red? yes" in second.calls[1].prompt.messages[-1].text


def test_the_same_question_is_put_only_once():
    """Repeats within a reply and of earlier questions are not looked at again; the comparison can be replaced."""
    script = Script([verdict("yes", "Is it red?", "is it RED", "is it blue?"), verdict("yes")], scored(0.6, 0.4))
    script.play(episode(problem(), plan()))
    assert [c.look.question for c in script.turns[3].calls if c.look] == ["Is it red?", "is it blue?"]


def test_the_opening_is_shared_by_all_problems_of_a_policy():
    """System text and worked examples come first and are the same for every problem, so that a prefix cache holds."""
    one, two = plan(min=ONE), plan(min=ONE)
    prompts = []
    for p, resolved in ((problem(), one), (Problem((image("other"),), "What is it?"), two)):
        script = Script([verdict("yes")], scored(0.6, 0.4))
        script.play(episode(p, resolved, start=EMPTY))
        prompts.append(next(c.prompt for c in script.calls if c.purpose == "generation"))
    assert prompts[0].digests[: one.opening.length] == prompts[1].digests[: one.opening.length]
    assert one.opening.length == 1 + 2 * len(one.policy.examples)


COT = """
description = "Multimodal chain of thought, for this test."
source = "this test"
confidence = ["vote"]
exemplars = 1
[rounds]
max = 1
questions = 0
[look]
first = []
[reasoner]
sees_image = true
[prompts]
system = "Think, then answer."
problem = "Question: $question\\n$choices"
"""


def test_exemplars_are_shown_as_exchanges_with_their_images():
    """In-context learning: the policy's number of worked exemplars stands before the problem, image before text."""
    exemplars = tuple(Exemplar((image(f"e{n}"),), f"Is {n} red?", "no", "It is blue.") for n in range(2))
    asked = Problem((image(),), "Is it red?", ("yes", "no"), exemplars=exemplars)
    named = read_policy(COT, "cot")
    able = Capabilities("vlm", images=True, schema=True)
    script = Script([verdict("yes")], Reply(tuple(Sample("A") for _ in range(5))))
    result = script.play(episode(asked, resolve(named, able, [])))
    assert (result.answer, result.confidence, result.reasoner_sees_image) == ("yes", 1.0, True)
    system, shown, reply, question = script.calls[0].prompt.messages
    assert [m.role for m in (system, shown, reply, question)] == ["system", "user", "assistant", "user"]
    assert shown.parts == (View(image("e0")), "Question: Is 0 red?")
    assert json.loads(reply.text) == {"rationale": "It is blue.", "cites": [], "answer": "no"}
    assert question.parts == (View(image()), "Question: Is it red?\nChoices: yes, no")


def test_before_the_first_round_to_stop_in_something_must_be_asked():
    """Until `rounds.min` no rule stops the loop, and the schema wants at least one question."""
    script = Script([verdict("yes"), verdict("yes", "is it red?")], scored(0.99, 0.01))
    result = script.play(episode(problem(), plan()))
    assert result.rounds[0].stops == ("dry: no new question",)
    assert len(result.rounds) == 2
    least = [json.loads(c.schema)["properties"]["questions"]["minItems"] for c in script.calls if c.schema]
    assert least == [1, 0]


def test_evidence_from_an_earlier_episode_is_of_no_round_of_this_one():
    """A follow-up's rounds list only what was found in them."""
    first = Script([verdict("yes", "is it red?"), verdict("yes")], scored(0.6, 0.4))
    known = first.play(episode(problem(), plan())).memory
    second = Script([verdict("yes", "is it blue?"), verdict("yes")], scored(0.6, 0.4))
    result = second.play(episode(problem("Is it a fire engine?"), plan(), start=known))
    assert [e.round for e in result.memory.evidence] == [0, 0, 0, 0, 2]
    assert [r.evidence for r in result.rounds] == [(), (5,)]


def test_a_verdict_that_was_paid_for_is_kept():
    """Where the budget or the read-out ends the episode after a generation, its verdict is in the result, unestimated;
    the answer is that of the last verdict that was estimated."""
    named = policy("evidence", abstain_below="abstain_below = 0.5\nbudget.calls = 3")
    script = Script([verdict("yes", "is it red?")])
    result = script.play(episode(problem(), plan().with_policy(named)))
    assert (result.stop_reason, result.best_guess, result.answer) == ("budget: calls", "yes", None)
    assert [r.estimated for r in result.rounds] == [False]
    failed = Script([verdict("yes", "is it red?")], Reply(error="HTTP 500"))
    result = failed.play(episode(problem(), plan()))
    assert (result.error, result.best_guess) == ("the reasoner failed: HTTP 500", "yes")
    named = policy("evidence", abstain_below="abstain_below = 0.5\nbudget.calls = 6")
    script = Script([verdict("yes", "is it red?"), verdict("no", "is it blue?")], scored(0.8, 0.2))
    result = script.play(episode(problem(), plan().with_policy(named)))
    assert (result.answer, result.confidence, [r.estimated for r in result.rounds]) == ("yes", 0.8, [True, False])


def test_without_a_confidence_there_is_no_answer_where_one_is_wanted():
    """A read-out that reports none of the letters leaves the confidence unknown; a policy with a threshold abstains."""
    script = Script([verdict("yes")], scored(None, None))
    result = script.play(episode(problem(), plan(min=ONE)))
    assert (result.answer, result.confidence, result.best_guess) == (None, None, "yes")
    assert result.rounds[0].verdict.outside == 1.0


def test_what_arrived_before_the_deadline_is_learned():
    """Of a turn that the deadline cuts, the replies that came are evidence."""
    named = policy("evidence", abstain_below="abstain_below = 0.5\nbudget.seconds = 10")
    script = Script([], look=lambda q: "two circles" if not q else Reply(error=DEADLINE))
    result = script.play(episode(problem(), plan().with_policy(named)))
    assert result.stop_reason == "budget: seconds"
    assert [e.answer for e in result.memory.evidence] == ["two circles"]


def test_what_a_person_asked_last_is_still_looked_at():
    """No rule stops the loop while a person's own question waits; one about an image that is not there is refused."""
    notes = {6: (Asked(Question("is it night?")),)}
    replies = [verdict("yes", "is it red?"), verdict("yes", "is it blue?"), verdict("yes")]
    script = Script(replies, scored(0.95, 0.05), notes=notes)
    result = script.play(episode(problem(), plan()))
    assert "is it night?" in [e.question for e in result.memory.evidence]
    assert len(result.rounds) == 3
    with pytest.raises(BadProblem, match="no image 8"):
        Script(replies, notes={1: (Asked(Question("is it?", 7)),)}).play(episode(problem(), plan()))


def test_a_withdrawn_direct_answer_counts_no_more():
    """After a veto of the direct look, `agreement` has nothing to agree with."""
    agreeing = plan(confidence='confidence = ["agreement"]')
    script = Script([verdict("yes", "is it red?"), verdict("yes")], notes={2: (Vetoed(2),)})
    result = script.play(episode(problem(), agreeing))
    assert [r.verdict.confidence for r in result.rounds] == [None, None]


def test_agreement_needs_one_image():
    """With several images there is no direct look to agree with; that is said before any call."""
    with pytest.raises(BadProblem, match="the problem has 2"):
        next(episode(problem(images=2), plan(confidence='confidence = ["agreement"]')))


def test_the_direct_verdict_says_why_it_failed():
    """An empty answer is told as such, not as an answer outside the choices."""
    script = Script([], look=lambda q: " ")
    assert script.play(episode(problem(), plan("direct"))).error == "the answerer failed: the answer is empty"


def test_an_older_layout_may_ask_in_its_only_round():
    """A policy that asks and concludes apart looks at the image even with one round and no first look."""
    one = policy("idealgpt", max="max = 1", first="first = []")
    script = Script(['{"questions": ["is it red?"]}', verdict("yes")], scored(0.9, 0.1))
    result = script.play(episode(problem(), resolve(one, ABLE, [ABLE])))
    assert script.purposes == ["generation", "look", "generation", "readout"]
    assert result.memory[1].model == "written"


def test_the_comparison_can_be_replaced():
    """What counts as the same question is a function that the caller may bring."""
    loose = resolve(policy("evidence"), ABLE, [ABLE], same=lambda one, other: one.split()[-1] == other.split()[-1])
    script = Script([verdict("yes", "is it red?", "was it ever red?", "is it blue?"), verdict("yes")], scored(0.6, 0.4))
    script.play(episode(problem(), loose))
    assert [c.look.question for c in script.turns[3].calls if c.look] == ["is it red?", "is it blue?"]


def test_a_question_known_before_counts_as_the_direct_answer():
    """The direct answer of an earlier episode is taken from the memory, with its probability, not looked at again."""
    named = policy("evidence", confidence='confidence = ["agreement"]', min=ONE)
    fitted = resolve(named, ABLE, [ABLE])
    first = Script([verdict("yes")], look=lambda question: said("yes", 0.7))
    known = first.play(episode(problem(choices=()), fitted)).memory
    second = Script([verdict("yes")])
    result = second.play(episode(problem(choices=()), fitted, start=known))
    assert second.purposes == ["generation"]
    assert result.confidence == pytest.approx(0.7)


def test_what_a_person_withdrew_is_not_asked_again():
    """The same model would say the same: the reasoner is told so, and a policy that only looks has no answer."""
    first = Script([verdict("yes", "is it red?"), verdict("yes")], scored(0.6, 0.4))
    known = first.play(episode(problem(), plan(min=ONE))).memory.plus(Retraction(2, "person"), Retraction(3, "person"))
    again = Script([verdict("yes", "is it red?"), verdict("no")], scored(0.6, 0.4))
    result = again.play(episode(problem(), plan(), start=known))
    assert not [c for c in again.calls if c.look]
    assert "a person withdrew the answer, [3]" in again.calls[-2].prompt.messages[-1].text
    assert result.memory[4].kind == "error"
    direct = Script([])
    assert direct.play(episode(problem(), plan("direct"), start=known)).abstained
