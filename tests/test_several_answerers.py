"""A second answerer is asked only where the first is in doubt, and each weighs as much as it is reliable."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import written
from written import ABLE, Script, said, scored, verdict

from iterreason.calls import Asked, Call, Reply
from iterreason.confidence import pooled
from iterreason.errors import BadConfig, BadPolicy, Misuse
from iterreason.folding import same_text
from iterreason.loop import episode
from iterreason.memory import Memory
from iterreason.plan import Plan, resolve
from iterreason.policy import find_policy, read_policy
from iterreason.records import Candidate, Evidence, Question, Result
from iterreason.reliability import Count, Reliability, kind_of, read_reliability
from iterreason.trace import EpisodeRecorder, Trace, parse_episode

FIRST, SECOND, THIRD = (replace(ABLE, model=f"hf/{name}@0123") for name in ("blip", "vilt", "qwen"))
Looks = Callable[[str, str], Reply]


def plan(*answerers: Any, policy: str = "evidence", counts: tuple[Count, ...] = (), **changes: str) -> Plan:
    models = answerers or (FIRST, SECOND)
    return resolve(written.policy(policy, **changes), ABLE, models, reliability=Reliability(counts))


class Two(Script):
    """Written replies in which each answerer has its own."""

    def __init__(self, generations: list[Any], looks: Looks, **more: Any) -> None:
        super().__init__(generations, **more)
        self.each = looks

    def reply(self, call: Call) -> Reply:
        return self.each(call.slot, (call.look and call.look.question) or "") if call.look else super().reply(call)

    def asked(self, slot: str) -> list[str]:
        """What this answerer was asked, in order."""
        return [(call.look and call.look.question) or "" for call in self.calls if call.slot == slot]


def by_slot(**replies: Reply) -> Looks:
    """The same reply to every question: `one`, `two`, `three` are the answerers."""
    names = {"answerer:0": "one", "answerer:1": "two", "answerer:2": "three"}
    return lambda slot, question: replies[names[slot]]


ASK = verdict("yes", "how many dogs are there?", "what colour is the car?")
END = verdict("yes")


def run(script: Two, fitted: Plan, **more: Any) -> Result:
    return script.play(episode(written.problem(), fitted, **more))


# ------------------------------------------------------------------ who is asked


def test_only_what_the_first_is_unsure_of_goes_to_the_second() -> None:
    """A sure answer costs no second look; an unsure one is put to the second at once, and both are remembered."""

    def looks(slot: str, question: str) -> Reply:
        if slot == "answerer:1":
            return said("4", 0.8)
        return said("3", 0.41) if question.startswith("how many") else said("red", 0.93)

    script = Two([ASK, END, END], looks)
    result = run(script, plan(first='first = ["caption"]'))
    assert script.asked("answerer:1") == ["how many dogs are there?"]
    dogs = [e for e in result.memory.evidence if e.question == "how many dogs are there?"]
    assert [(e.model, e.answer, e.probability) for e in dogs] == [
        (FIRST.model, "3", pytest.approx(0.41)),
        (SECOND.model, "4", pytest.approx(0.8)),
    ]
    assert result.models == (ABLE.model, FIRST.model, SECOND.model)


def test_an_answer_against_the_memory_goes_to_the_second() -> None:
    """However sure the first is, what contradicts earlier evidence is looked at again, by another."""
    known = Evidence(1, "answer", "is it a dog?", "no", 0.9, "person", 0)
    notes = {1: (Asked(Question("is it a dog?")),)}
    script = Two([END, END], by_slot(one=said("yes", 0.99), two=said("no", 0.99)), notes=notes)
    result = run(script, plan(first='first = ["caption"]'), start=Memory((known,)))
    assert script.asked("answerer:1") == ["is it a dog?"]
    assert [e.answer for e in result.memory.evidence if e.question == "is it a dog?"] == ["no", "yes", "no"]


def test_the_third_is_asked_where_the_first_two_differ() -> None:
    """Two answers that contradict each other, both sure or not, are put to the next answerer."""
    looks = by_slot(one=said("3", 0.3), two=said("4", 0.99), three=said("4", 0.9))
    script = Two([ASK, END, END], looks)
    run(script, plan(FIRST, SECOND, THIRD, first='first = ["caption"]'))
    assert set(script.asked("answerer:2")) == {"how many dogs are there?", "what colour is the car?"}
    agreed = Two([ASK, END, END], by_slot(one=said("3", 0.3), two=said("three", 0.99), three=said("4")))
    run(agreed, plan(FIRST, SECOND, THIRD, first='first = ["caption"]'))
    assert agreed.asked("answerer:1")
    assert agreed.asked("answerer:2") == []


def test_an_answer_without_a_probability_is_not_sure() -> None:
    """Where the first cannot say how sure it is, the second looks too; not where the policy asks for contradictions."""
    looks = by_slot(one=said("3", None), two=said("3", None))
    for line, count in ((None, 2), ("second_below = 0.0", 0)):
        changes = {"first": 'first = ["caption"]' + (f"\n{line}" if line else "")}
        script = Two([ASK, END, END], looks)
        run(script, plan(**changes))
        assert len(script.asked("answerer:1")) == count


def test_an_answer_that_is_none_of_the_choices_goes_to_the_second() -> None:
    """However sure the first is of something else, the question is not answered yet."""
    looks = by_slot(one=said("purple", 0.99), two=said("no", 0.9))
    result = run(Two([], looks), plan(policy="direct"))
    assert (result.best_guess, result.error) == ("no", None)
    assert [e.answer for e in result.memory.evidence] == ["purple", "no"]


def test_a_caption_is_asked_for_again_only_where_there_is_none() -> None:
    """A caption's probability is small by nature; a second one is wanted only where the first cannot describe."""
    script = Two([END, END], by_slot(one=said("two dogs", 0.01), two=said("dogs")))
    run(script, plan(first='first = ["caption"]'))
    assert script.asked("answerer:1") == []
    failing = Two([END, END], by_slot(one=Reply(error="vilt answers questions only"), two=said("two dogs", 0.1)))
    result = run(failing, plan(first='first = ["caption"]'))
    assert [(e.kind, e.model) for e in result.memory.evidence] == [("error", FIRST.model), ("caption", SECOND.model)]
    assert result.error is None


def test_an_episode_fails_only_where_all_answerers_do() -> None:
    """One that answers is enough to go on; where none does the first reason is told."""
    looks = by_slot(one=Reply(error="gone"), two=Reply(error="gone too"))
    result = run(Two([END], looks), plan())
    assert result.error == "the answerer failed: gone"
    assert result.stop_reason == "error"


def test_what_outlasts_the_time_ends_the_episode() -> None:
    """A second look that the deadline cuts off is no evidence, and no further call is made."""
    looks = by_slot(one=said("3", 0.2), two=Reply(error="deadline"))
    result = run(Two([ASK], looks), plan(first='first = ["question"]'))
    assert result.stop_reason == "budget: seconds"
    assert {e.model for e in result.memory.evidence} == {FIRST.model}


# ------------------------------------------------------------------ what the reasoner reads


def test_evidence_names_its_answerer_only_where_there_are_several() -> None:
    """With one answerer the prompts are as they always were; with two each line says whose it is."""
    looks = by_slot(one=said("3", 0.41), two=said("4", 0.8))
    both, alone = Two([ASK, END, END], looks), Two([ASK, END, END], looks)
    run(both, plan())
    run(alone, plan(FIRST))
    read = [call.prompt.messages[-1].text for call in both.calls if call.purpose == "generation"]
    assert "[3] Are there more red circles than blue squares? 4 (probability 0.80, from hf/vilt)" in read[0]
    assert "how many dogs are there? 3 (probability 0.41, from hf/blip)" in read[1]
    texts = [m.text for call in alone.calls if call.slot == "reasoner" for m in call.prompt.messages]
    assert not any("from hf/" in text for text in texts)


def test_a_longer_prompt_starts_with_the_shorter() -> None:
    """Second looks come before the verdict, so that the conversation is still only appended to."""
    script = Two([ASK, ASK, END, END], by_slot(one=said("3", 0.41), two=said("4", 0.8)))
    run(script, plan())
    made = [call.prompt for call in script.calls if call.purpose == "generation"]
    assert len(made) >= 2
    for one, other in pairwise(made):
        assert other.starts_with(one)


# ------------------------------------------------------------------ weights

COUNTS = (Count(FIRST.model, "yes-no", 8, 8), Count(FIRST.model, "count", 2, 8), Count(SECOND.model, "yes-no", 3, 8))


def test_an_unreliable_answerer_is_asked_after_sooner() -> None:
    """A sure answer of a kind that this model often gets wrong goes to the second too, and the line says so."""
    looks = by_slot(one=said("3", 0.9), two=said("4", 0.9))
    script = Two([verdict("yes", "how many dogs are there?", "is it day?"), END, END], looks)
    run(script, plan(first='first = ["caption"]', counts=COUNTS))
    assert script.asked("answerer:1") == ["how many dogs are there?"]
    read = [call.prompt.messages[-1].text for call in script.calls if call.purpose == "generation"][1]
    assert "3 (probability 0.90, from hf/blip, right in 0.30 of such answers)" in read
    assert "(probability 0.90, from hf/vilt, right in 0.40 of such answers)" in read


def test_weights_are_counts_with_a_prior() -> None:
    """(right + 1) / (asked + 2) of the kind, or of all kinds where it was never asked; 1 where nothing is counted."""
    counted = Reliability(COUNTS)
    assert counted.weight(FIRST.model, "Is it red?") == pytest.approx(0.9)
    assert counted.weight(FIRST.model, "how many are there?") == pytest.approx(0.3)
    assert counted.weight(FIRST.model, "what colour is it?") == pytest.approx(11 / 18)
    assert counted.weight("another", "is it red?") == pytest.approx(0.5)
    assert Reliability().weight(FIRST.model, "is it red?") == 1.0


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is there a dog?", "yes-no"),
        ("Aren't there dogs?", "yes-no"),
        ("How many dogs are there?", "count"),
        ("What is the number of dogs?", "count"),
        ("What colour is it?", "colour"),
        ("what COLOR", "colour"),
        ("Where is it?", "place"),
        ("On which side is the dog?", "place"),
        ("What is it?", "other"),
        ("Island or lake?", "other"),
        ("", "other"),
    ],
)
def test_kinds_of_question(question: str, kind: str) -> None:
    """The first words, or what is asked for, tell what kind of answer is wanted."""
    assert kind_of(question) == kind


def test_direct_answers_are_pooled_by_weight() -> None:
    """The belief of several answerers is the mean of theirs, each weighed; one alone is as it was."""
    yes, no = ((Candidate("yes", 0.8), Candidate("no", 0.2)), (Candidate("No", 0.9), Candidate("yes", 0.1)))
    assert pooled([(1.0, yes)], same_text) == yes
    flat = pooled([(1.0, yes), (1.0, no)], same_text)
    assert [(c.answer, c.probability) for c in flat] == [("no", pytest.approx(0.55)), ("yes", pytest.approx(0.45))]
    weighed = pooled([(0.9, yes), (0.3, no)], same_text)
    assert weighed[0].answer == "yes"
    assert weighed[0].probability == pytest.approx((0.9 * 0.8 + 0.3 * 0.1) / 1.2)
    unsure = (Candidate("maybe"),)
    assert pooled([(1.0, unsure), (0.2, yes)], same_text) == yes
    assert pooled([(0.2, unsure), (0.5, (Candidate("no"),))], same_text) == (Candidate("no"),)
    assert pooled([], same_text) == ()


def test_the_direct_policy_takes_what_its_answerers_come_to() -> None:
    """With two answerers the baseline's verdict is the pooled belief, and cites whose answer it is."""
    first = Reply((said("yes", 0.5).samples), (-0.9, -1.2))
    second = Reply((said("no", 0.9).samples), (-3.0, -0.1))
    result = run(Two([], by_slot(one=first, two=second)), plan(policy="direct"))
    assert (result.best_guess, result.rounds[0].verdict.cites) == ("no", (2,))
    trusted = (Count(FIRST.model, "yes-no", 98, 98), Count(SECOND.model, "yes-no", 0, 98))
    result = run(Two([], by_slot(one=first, two=second)), plan(policy="direct", counts=trusted))
    assert (result.best_guess, result.rounds[0].verdict.cites) == ("yes", (1,))


def test_vetoed_evidence_leaves_the_pool() -> None:
    """A person's veto of one answerer's direct answer takes its share away, and only that."""
    from iterreason.calls import Vetoed

    looks = by_slot(one=said("yes", 0.5), two=said("no", 0.9))
    notes = {3: (Vetoed(3),)}
    script = Two([END, END], looks, notes=notes)
    result = run(script, plan(confidence='confidence = ["agreement"]', min="min = 2"))
    assert 3 in result.memory.withdrawn
    assert [c.answer for c in result.rounds[-1].verdict.belief] == ["yes"]


# ------------------------------------------------------------------ traces, policies, files


def test_a_trace_of_several_answerers_replays() -> None:
    """Answerers and their reliability are in the trace; a trace of before they existed reads as flat."""
    fitted = plan(counts=COUNTS)
    script = Two([ASK, END, END], by_slot(one=said("3", 0.41), two=said("4", 0.8)))
    recorder = EpisodeRecorder(written.problem(), fitted, Memory(), None)
    result = _recorded(script, fitted, recorder)
    line = json.loads(json.dumps(recorder.line(result)))
    trace = parse_episode(line, Path("trace"))
    assert trace.plan.reliability == fitted.reliability
    assert trace.replay() == result
    del line["reliability"]
    assert parse_episode(line, Path("trace")).plan.reliability == Reliability()


def _recorded(script: Two, fitted: Plan, recorder: EpisodeRecorder) -> Result:
    running = episode(written.problem(), fitted)
    try:
        turn = next(running)
        while True:
            returned = script.returned(turn)
            recorder.turn(turn, returned)
            turn = running.send(returned)
    except StopIteration as end:
        result: Result = end.value
        return result


def test_a_what_if_with_another_bound_names_the_look_that_is_missing() -> None:
    """A bound that would have asked more is no guess: the first call that the record lacks is named."""
    from iterreason.errors import NotRecorded

    fitted = plan()
    recorder = EpisodeRecorder(written.problem(), fitted, Memory(), None)
    script = Two([ASK, END, END], by_slot(one=said("3", 0.7), two=said("4", 0.8)))
    trace: Trace = parse_episode(json.loads(json.dumps(recorder.line(_recorded(script, fitted, recorder)))), Path("t"))
    first = 'first = ["caption", "question"]\n'
    lower = written.policy("evidence", first=first + "second_below = 0.5")
    assert trace.replay(lower).memory == trace.replay().memory
    with pytest.raises(NotRecorded, match="look call to answerer:1"):
        trace.replay(written.policy("evidence", first=first + "second_below = 0.9"))


def test_a_misspelt_key_is_named() -> None:
    """`second_below` is a key like any other."""
    text = find_policy("evidence").text.replace("[look]", "[look]\nsecond_bellow = 0.5")
    with pytest.raises(BadPolicy, match="unknown key 'second_bellow'; did you mean 'second_below'"):
        read_policy(text, "mine")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no toml", "cannot read the answerers' reliability"),
        ("task = 'x'", "answerer"),
        ("[[answerer]]\nmodel='a'\nkind='cuont'\nright=1\nasked=2", "'count'"),
        ("[[answerer]]\nmodel='a'\nkind='count'\nrihgt=1\nasked=2", "did you mean 'right'"),
        ("[[answerer]]\nmodel='a'\nkind='count'\nright=3\nasked=2", "right = 3 is more than asked = 2"),
        ("[[answerer]]\nmodel='a'\nkind='count'\nright=1\nasked=2\n" * 2, "a is counted twice for 'count'"),
        ("polcy = ''\n[[answerer]]\nmodel='a'\nkind='count'\nright=1\nasked=2", "did you mean 'policy'"),
    ],
)
def test_a_broken_file_of_counts_is_refused(text: str, words: str, tmp_path: Path) -> None:
    """Every fault is named with its key."""
    (tmp_path / "answerers.toml").write_text(text)
    with pytest.raises(BadConfig, match=words):
        read_reliability(tmp_path / "answerers.toml")
    with pytest.raises(BadConfig, match="cannot read"):
        read_reliability(tmp_path / "missing.toml")


def test_the_same_answerer_twice_is_refused() -> None:
    """A second look by the same model would tell nothing new."""
    from iterreason.api import Reasoner

    with pytest.raises(Misuse, match="'embedded' is named twice"):
        Reasoner(answerer=["embedded", "embedded"])


def test_scored_read_outs_are_untouched() -> None:
    """Read-outs and votes go to the reasoner alone, whoever looks."""
    script = Two([END, END], by_slot(one=said("yes", 0.2), two=said("yes", 0.2)), readouts=scored(0.8, 0.1))
    run(script, plan())
    assert {call.slot for call in script.calls if call.purpose == "readout"} == {"reasoner"}
