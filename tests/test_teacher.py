"""The teacher that makes the embedded reasoner's instruction data, and what it goes by."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rows import row

from iterreason.bench.row import Run
from iterreason.bench.tasks.readers import scenes as benchmark
from iterreason.calls import Call, Capabilities, Reply, Sample
from iterreason.errors import BadRun
from iterreason.folding import fold
from iterreason.images import load_image
from iterreason.models.embedded import answerer
from iterreason.records import Usage
from iterreason.tuning import teach
from iterreason.tuning.belief import from_steps, multiplied, spread, together
from iterreason.tuning.course import BOXES, course_of, in_other_words
from iterreason.tuning.instruct_sources import drafts_of
from iterreason.tuning.lessons import SIMPLE, Lesson, composed_lesson, simple_lesson
from iterreason.tuning.oracle import at_best
from iterreason.tuning.programs import PROGRAMS
from iterreason.tuning.report_reasoner import report
from iterreason.tuning.scenes import draw
from iterreason.tuning.teach import Taught, begin, lesson_of, plan_for

LOOKER = Capabilities("written", chats=False, looks=True, logprobs=True)


class Looker:
    """An answerer whose replies are written: question → (answer, probability); anything else is `yes`, surely."""

    def __init__(self, said: Mapping[str, tuple[str, float]]) -> None:
        self._said = {fold(question): answer for question, answer in said.items()}
        self.asked: list[str] = []

    async def complete(self, call: Call, on_text: object = None) -> Reply:
        question = (call.look and call.look.question) or "caption"
        self.asked.append(question)
        answer, probability = self._said.get(fold(question), ("yes", 0.99))
        return Reply((Sample(answer, (float(np.log(probability)),)),))

    def capabilities(self) -> Capabilities:
        return LOOKER

    async def close(self) -> None:
        pass


def lesson(kind: str, seed: int = 0) -> Lesson:
    rng = np.random.default_rng(seed)
    return simple_lesson(kind, rng) if kind in SIMPLE else composed_lesson(kind, rng, "trained")


def taught(one: Lesson, looker: Looker) -> Taught:
    episode = begin(one, load_image(draw(one.scene)), "a-lesson", plan_for(LOOKER))
    asyncio.run(teach.teach([episode], looker))
    assert episode.result is not None
    assert episode.result.error is None
    return episode


def said_by_teacher(episode: Taught, purpose: str = "generation") -> list[str]:
    return [reply.text for call, reply in episode.seen if call.purpose == purpose]


def gold_answers(one: Lesson) -> dict[str, tuple[str, float]]:
    return {one.text: (one.answer, 0.9)} | {step.text: (step.answer, 0.98) for step in one.steps}


@pytest.mark.parametrize("kind", ["compare", "total", "difference", "chain", "and", "or", "number", "box-most"])
def test_right_answers_lead_the_teacher_to_the_gold_answer(kind):
    """Where the answerer is right about the steps, the last verdict is the gold answer and cites them."""
    for seed in range(5):
        one = lesson(kind, seed)
        others = [choice for choice in one.choices if choice != one.answer]
        looker = Looker(gold_answers(one) | {one.text: (others[0], 0.5)})
        last = json.loads(said_by_teacher(taught(one, looker))[-1])
        assert last["answer"] == one.answer
        assert last["questions"] == []
        assert len(last["cites"]) >= len({step.text for step in one.steps})


def test_the_teacher_goes_by_the_evidence_alone():
    """With another gold answer and the same evidence it says the same to the letter; only its read-outs differ."""
    one = lesson("compare", 3)
    other = replace(one, answer="no" if one.answer == "yes" else "yes")
    first, second = (taught(each, Looker(gold_answers(one))) for each in (one, other))
    assert said_by_teacher(first) == said_by_teacher(second)
    assert said_by_teacher(first, "readout") != said_by_teacher(second, "readout")


def test_an_unsure_answer_is_asked_for_again_in_other_words():
    """An answer of little probability is not taken: the same is asked otherwise, and both count."""
    one = lesson("total", 1)
    doubtful = one.steps[0].text
    looker = Looker(gold_answers(one) | {doubtful: (one.steps[0].answer, 0.4)})
    episode = taught(one, looker)
    assert in_other_words(doubtful) in looker.asked
    assert len(said_by_teacher(episode)) == 3


def test_the_number_of_boxes_is_asked_and_not_known():
    """Of boxes the teacher knows what it was told: with three it looks into the middle one, with two it does not."""
    one = lesson("box-every", 2)
    for count, looked in (("2", False), ("3", True)):
        looker = Looker({BOXES: (count, 0.99)})
        taught(one, looker)
        assert any("in the middle box" in text for text in looker.asked) is looked


def test_the_odd_one_out_is_searched_for():
    """Forms are counted first; where none stands alone, the colours that the caption names."""
    one = replace(lesson("odd", 0), details=("colour", "red"))
    forms = {
        "how many circles are there?": "2",
        "how many squares are there?": "2",
        "how many triangles are there?": "0",
    }
    known = forms | {"how many red shapes are there?": "1", "how many blue shapes are there?": "3"}
    assert course_of(one, lambda text: None, "red", "").first == tuple(forms)
    colours = course_of(one, forms.get, "red", "one red circle top ; three blue squares left").first[3:]
    assert colours == ("how many red shapes are there?", "how many blue shapes are there?")
    last = course_of(one, known.get, "red", "one red circle top ; three blue squares left")
    assert (last.texts, last.details) == (("how many red shapes are there?",), ("colour", "red"))


def test_every_way_of_asking_otherwise_is_another_text():
    """A question put in other words is no repetition of it, for every step of every program."""
    for program in PROGRAMS:
        for step in lesson(program, 4).steps:
            other = in_other_words(step.text)
            assert other
            assert fold(other) != fold(step.text)


def test_two_answers_to_one_question_count_together():
    """Agreement makes surer, contradiction less sure, and the surer answer wins."""
    alone, agree = spread(("3", 0.6)), multiplied([spread(("3", 0.6)), spread(("3", 0.6))])
    assert agree["3"] > alone["3"]
    differ = multiplied([spread(("3", 0.9)), spread(("4", 0.6))])
    assert max(differ, key=lambda count: differ[count]) == "3"
    assert differ["3"] < spread(("3", 0.9))["3"]
    assert sum(spread(("0", 0.5)).values()) == pytest.approx(1)


def test_without_the_steps_the_direct_answer_is_all_there_is():
    """Steps that are not known say nothing; then the answerer's own answer is believed."""
    one = lesson("compare", 0)
    course = course_of(one, lambda text: None, "yes", "")
    even = from_steps(one, course, {})
    assert set(even.values()) == {0.5}
    belief = together(one, even, ("yes", 0.8))
    assert belief["yes"] > 0.5


def test_a_lesson_is_decided_by_its_two_numbers_and_shares_no_stream():
    """The same numbers give the same lesson and pixels; the benchmark's scenes come from another stream."""
    (one, image), (two, other) = lesson_of(0, 5), lesson_of(0, 5)
    assert (one.text, one.answer, image.sha256) == (two.text, two.answer, other.sha256)
    assert lesson_of(0, 6)[1].sha256 != image.sha256
    assert teach.STREAM not in (0, 1, 2, benchmark._STREAM)


def test_the_data_have_the_prompts_of_the_policy_and_replies_that_can_be_read():
    """Episodes with the embedded answerer end without an error, and their triples begin as the policy's prompts do."""
    looker = answerer()
    plan = plan_for(looker.capabilities())
    some = [begin(*lesson_of(9, n), f"t{n}", plan) for n in range(6)]
    asyncio.run(teach.teach(some, looker))
    for one in some:
        assert one.result is not None
        assert one.result.error is None
        assert one.result.usage.reasks == 0
        drafts = list(drafts_of(one.problem, one.seen, "t", "taught"))
        assert len(drafts) == one.result.usage.generations + one.result.usage.readouts
        assert all(draft.messages[: plan.opening.length] == plan.opening.messages for draft in drafts)


def test_the_ceiling_asks_the_gold_steps_and_combines_them():
    """Right answers to the steps give the gold answer; one that is no number gives none."""
    one = lesson("total", 2)
    image = load_image(draw(one.scene))
    assert asyncio.run(at_best(image, one, Looker(gold_answers(one)))) == one.answer
    assert asyncio.run(at_best(image, one, Looker({}))) is None


def test_the_report_counts_problems_that_all_runs_have():
    """Shares, differences and costs are of the shared problems; abstentions are not right, best guesses told apart."""
    kinds = ["count", "odd", "odd (other words)", "count"]
    values = {"evidence": [1.0, None, 1.0, 0.0], "direct": [1.0, 0.0, 0.0]}
    runs = []
    for policy, scores in values.items():
        rows = [
            row(n, score, kind=kind, policy=policy, usage=Usage(generations=2, looks=3))
            for n, (score, kind) in enumerate(zip(scores, kinds, strict=False))
        ]
        runs.append(Run(Path(policy), {"task": {"name": "scenes"}, "policy": {"name": policy}}, tuple(rows)))
    said = list(report(runs))
    assert said[0] == "|  | `evidence` | `direct` | n |"
    assert said[2].startswith("| all | 0.667 (")
    assert said[2].endswith(" | 3 |")
    assert "| odd (other words) | 1.000 (0.207–1.000) | 0.000 (0.000–0.793) | 1 |" in said
    assert any(line.startswith("- all: `evidence` less `direct` +0.333 (") for line in said)
    assert "- a problem took 2.00 generations, 0.00 re-asks, 3.00 looks on average" in said
    assert any(line.startswith("- 1 abstained; with best guesses counted 1.000 (") for line in said)
    assert any(line.startswith("- all, best guesses counted: `evidence` less `direct` +0.667 (") for line in said)
    with pytest.raises(BadRun, match="no run of scenes under 'evidence'"):
        list(report(runs[1:]))
    with pytest.raises(BadRun, match="no problem that all of these have: evidence, direct"):
        list(report([runs[0], replace(runs[1], rows=())]))
