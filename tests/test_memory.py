"""The memory: only ever appended; repeats, contradictions and withdrawals are found in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iterreason.memory import EMPTY, Memory, contradictions, repeated
from iterreason.records import Evidence, Question, Region, Retraction

LEFT, RIGHT = Region(0, 0, 0.5, 1), Region(0.5, 0, 1, 1)


def found(*pairs: tuple[str, str], **more) -> Memory:
    """A memory of answers."""
    memory = EMPTY
    for question, answer in pairs:
        memory = memory.plus(evidence(memory.next_number, question, answer, **more))
    return memory


def evidence(number: int, question: str = "how many dogs?", answer: str = "2", kind="answer", **more) -> Evidence:
    return Evidence(number, kind, question, answer, None, "vqa", 1, **more)


entries = st.lists(
    st.one_of(
        st.builds(Retraction, st.integers(1, 9), st.just("person")),
        st.builds(evidence, st.integers(1, 9), st.text(max_size=5), st.text(max_size=5)),
    ),
    max_size=8,
)


@given(entries, entries)
def test_a_memory_only_grows(earlier, added):
    """Adding gives a new memory that starts with the old one, which is as it was."""
    memory = Memory(tuple(earlier))
    grown = memory.plus(*added)
    assert memory.entries == tuple(earlier)
    assert grown.entries[: len(earlier)] == memory.entries
    assert grown.since(memory) == tuple(added)
    assert grown.since(grown) == ()


def test_evidence_is_looked_up_by_its_number():
    """Numbers start at 1, as a verdict cites them; there is no evidence 0 and none from the end."""
    memory = found(("a?", "1"), ("b?", "2")).plus(Retraction(1, "person"))
    assert (memory[1].question, memory[2].question) == ("a?", "b?")
    assert (len(memory), memory.next_number) == (2, 3)
    for number in (0, -1, 3):
        with pytest.raises(IndexError):
            memory[number]


def test_going_through_a_memory_gives_its_evidence():
    """Iteration gives the evidence in order, each once."""
    memory = found(("a?", "1"), ("b?", "2")).plus(Retraction(1, "person"))
    assert list(memory) == list(memory.evidence)
    assert list(EMPTY) == []


def test_a_withdrawal_is_added_and_removes_nothing():
    """Withdrawn evidence stays in the memory, but no longer counts."""
    memory = found(("a?", "1"), ("b?", "2"))
    after = memory.plus(Retraction(1, "person"))
    assert after.evidence == memory.evidence
    assert after.withdrawn == {1}
    assert [e.number for e in after.standing] == [2]
    assert [e.number for e in memory.standing] == [1, 2]


def test_an_error_is_no_evidence_that_stands():
    """A look that failed is remembered, but counts for nothing."""
    memory = Memory((evidence(1, answer="timed out", kind="error"), evidence(2, "", "a dog", kind="caption")))
    assert [e.number for e in memory.standing] == [2]


@pytest.mark.parametrize("asked", ["How many dogs?", "how many dogs", " HOW MANY  DOGS?! ", "How many the dogs?"])
def test_a_question_is_found_again_by_its_normalised_text(asked):
    """Case, punctuation, spaces and articles make no new question."""
    assert repeated(found(("how many dogs?", "2")), Question(asked)).number == 1


@pytest.mark.parametrize(
    "asked",
    [
        Question("how many cats?"),
        Question("how many dogs?", image=1),
        Question("how many dogs?", region=LEFT),
    ],
)
def test_another_text_image_or_region_is_another_question(asked):
    """A question is a repeat only about the same place."""
    assert repeated(found(("how many dogs?", "2")), asked) is None


def test_a_question_about_a_region_is_a_repeat_of_the_same_region():
    """Two regions of an image are two places."""
    memory = found(("how many dogs?", "2"), region=LEFT)
    assert repeated(memory, Question("how many dogs?", region=LEFT)) is not None
    assert repeated(memory, Question("how many dogs?", region=RIGHT)) is None


@pytest.mark.parametrize("kind", ["error", "caption", "told"])
def test_only_an_answer_makes_a_repeat(kind):
    """A question that failed may be asked again; captions and what a person told answer none."""
    assert repeated(Memory((evidence(1, kind=kind),)), Question("how many dogs?")) is None


def test_a_withdrawn_answer_makes_no_repeat():
    """What was withdrawn may be asked again; an answer that stands beside it still counts."""
    memory = found(("how many dogs?", "2")).plus(Retraction(1, "person"))
    assert repeated(memory, Question("how many dogs?")) is None
    assert repeated(memory.plus(evidence(2)), Question("how many dogs?")).number == 2


def test_the_comparison_can_be_replaced():
    """Whoever knows better when two texts are the same says so."""
    memory = found(("how many dogs?", "2"), ("what number of dogs?", "three"))

    def by_length(one, other):
        return len(one) > 3 and len(other) > 3

    assert repeated(memory, Question("is it a dog?")) is None
    assert repeated(memory, Question("is it a dog?"), by_length).number == 1
    assert contradictions(memory) == ()
    assert contradictions(memory, by_length) == ((memory[1], memory[2]),)


@pytest.mark.parametrize(
    ("one", "other", "contradict"),
    [
        (("how many dogs?", "2"), ("How many dogs", "3"), True),
        (("how many dogs?", "2"), ("how many dogs?", "two."), False),
        (("how many dogs?", "2"), ("how many cats?", "3"), False),
        (("is it red?", "yes"), ("Is it red", "no"), True),
        (("how cold?", "5"), ("how cold?", "-5"), True),
    ],
)
def test_the_same_question_with_another_answer_is_a_contradiction(one, other, contradict):
    """Only answers that differ after folding contradict each other."""
    memory = found(one, other)
    assert contradictions(memory) == (((memory[1], memory[2]),) if contradict else ())


def test_every_pair_that_contradicts_is_given():
    """Three answers to one question make three pairs, two equal ones and a third make two."""
    three = found(("a?", "1"), ("a?", "2"), ("a?", "3"))
    assert [(one.number, other.number) for one, other in contradictions(three)] == [(1, 2), (1, 3), (2, 3)]
    two = found(("a?", "1"), ("a?", "2"), ("a?", "1"))
    assert [(one.number, other.number) for one, other in contradictions(two)] == [(1, 2), (2, 3)]


def test_other_places_and_withdrawn_answers_contradict_nothing():
    """Different images and regions may differ, and a withdrawal settles a contradiction."""
    memory = Memory((evidence(1), evidence(2, answer="3", image=1), evidence(3, answer="4", region=LEFT)))
    assert contradictions(memory) == ()
    differing = found(("a?", "1"), ("a?", "2"))
    assert contradictions(differing.plus(Retraction(2, "person"))) == ()
    assert contradictions(Memory((evidence(1), evidence(2, answer="3", kind="told")))) == ()
