"""Problems keep their bounds, records do not change, and errors say what to do."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest
from written import image, problem

from iterreason import errors
from iterreason.errors import BadProblem, EpisodeFailed, IterReasonError, unknown
from iterreason.memory import EMPTY
from iterreason.records import (
    MAX_CHOICES,
    MAX_CONTEXT_CHARS,
    MAX_QUESTION_CHARS,
    Candidate,
    Image,
    Problem,
    Region,
    Result,
    Round,
    Usage,
    Verdict,
)

MODULES = "folding replies policy memory prompts confidence stopping display records errors config"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"images": ()}, "at least one image"),
        ({"question": ""}, "the question is empty"),
        ({"question": " \n\t"}, "the question is empty"),
        ({"question": "x" * 1_000_000}, "the question has 1,000,000 characters; at most 4,000 are allowed"),
        ({"question": "what \udcff?"}, "the question has a part that is no text"),
        ({"context": "x" * (MAX_CONTEXT_CHARS + 1)}, "the context has 20,001 characters"),
        ({"context": "\ud83d"}, "the context has a part that is no text"),
        ({"choices": ("yes",)}, "choices must be 2 to 26, not 1"),
        ({"choices": tuple(map(str, range(27)))}, "choices must be 2 to 26, not 27"),
        ({"choices": ("yes", "")}, "choice '' is empty"),
        ({"choices": ("yes", " \n")}, "is empty; name each choice"),
        ({"choices": ("yes", "\u200b")}, "is empty; name each choice"),
        ({"choices": ("yes", "yes")}, "choices 'yes' and 'yes' mean the same"),
        ({"choices": ("no", "yes", "Yes.")}, "choices 'yes' and 'Yes.' mean the same; keep one"),
        ({"choices": ("2", "two")}, "mean the same"),
        ({"choices": ("a dog", "the dog")}, "mean the same"),
        ({"choices": ("yes", "x" * 1_001)}, "the choice has 1,001 characters"),
        ({"choices": ("yes", "\udc80")}, "the choice has a part that is no text"),
    ],
)
def test_a_problem_out_of_bounds_is_refused(values, why):
    """Each broken bound is one error that names it, before anything runs."""
    given = {"images": (image(),), "question": "What is it?"} | values
    with pytest.raises(BadProblem) as caught:
        Problem(**given)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "choices",
    [
        ("-5", "5"),
        ("1.5", "15"),
        ("10²", "102"),
        ("C", "C#", "C++"),
        ("A", "B"),
        ("vitamin A", "vitamin B", "vitamin"),
        ("<", ">", "="),
        ("?", "!"),
        ("👍", "👎"),
        ("是", "不是"),
        tuple(map(str, range(MAX_CHOICES))),
    ],
)
def test_choices_that_differ_are_taken(choices):
    """Folding makes no two different choices the same."""
    assert problem(choices=choices).choices == choices


def test_the_longest_problem_is_taken():
    """The bounds themselves are within bounds."""
    longest = Problem((image(),), "x" * MAX_QUESTION_CHARS, ("y" * 1_000, "z"), "c" * MAX_CONTEXT_CHARS)
    assert len(longest.question) == 4_000


@pytest.mark.parametrize(
    "box",
    [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (float("nan"), 0, 1, 1), (0, 0, 1, float("inf"))],
)
def test_a_region_lies_in_its_image(box):
    """An empty, turned or outlying box, or one that is no number, is refused."""
    with pytest.raises(BadProblem, match="a region needs"):
        Region(*box)
    assert Region(0, 0, 1, 1).x1 == 1


def test_images_are_the_same_where_their_bytes_are():
    """Two files of the same bytes are one image; bytes never show in a print-out."""
    one, other = Image("ab", 1, 1, name="a.png", data=b"x"), Image("ab", 1, 1, name="b.png")
    assert one == other
    assert "b'x'" not in repr(one)


def test_records_do_not_change():
    """What was recorded stays as it was."""
    for record in (problem(), Region(0, 0, 1, 1), Usage(), Verdict("yes"), EMPTY, Candidate("a")):
        with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
            setattr(record, fields(record)[0].name, None)
        assert not hasattr(record, "__dict__")


def test_usage_sums_up():
    """Calls of all purposes, and prompt and written tokens; cached ones are part of the prompt's."""
    usage = Usage(1, 2, 3, 4, prompt_tokens=100, cached_tokens=90, completion_tokens=7)
    assert (usage.calls, usage.tokens) == (10, 107)


def ended(answer=None, error=None, *verdicts: str | None) -> Result:
    rounds = tuple(Round(n, Verdict(v)) for n, v in enumerate(verdicts, 1))
    return Result(problem(), answer, None, "vote", "x", rounds, EMPTY, Usage(), "p", "h", (), error=error)


def test_the_best_guess_is_the_last_answer_held():
    """A round that was not sure does not wipe out the answer before it."""
    assert ended(None, None, "yes", "no", None).best_guess == "no"
    assert ended(None, None, None).best_guess is None
    assert ended().best_guess is None


def test_an_abstention_is_neither_an_answer_nor_an_error():
    """Not sure enough, failed and answered are three different ends."""
    assert [r.abstained for r in (ended(), ended("yes"), ended(None, "HTTP 500"))] == [True, False, False]


# ------------------------------------------------------------------ errors


def tree(kind: type, depth: int = 0):
    yield depth, kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below, depth + 1)


def test_the_tree_of_errors_is_drawn_as_it_is():
    """Each error stands in the drawing at the top of the file, and has one sentence of its own."""
    kinds = list(tree(IterReasonError))
    drawn = [line for line in errors.__doc__.splitlines() if "Everything" not in line and line]
    assert [line.split("── ")[-1].split(" ")[0] for line in drawn] == [kind.__name__ for _, kind in kinds]
    for line, (depth, kind) in zip(drawn, kinds, strict=True):
        assert line.index(kind.__name__) == 4 * depth
        assert kind.__doc__.count(".") == 1
        assert kind.exit_code == (2 if issubclass(kind, errors.Misuse) else 1)


def test_a_failed_episode_keeps_its_result():
    """Nothing that was learned before an error is lost."""
    failed = ended(None, "HTTP 500", "yes")
    assert EpisodeFailed(failed).result is failed
    assert str(EpisodeFailed(failed)) == "HTTP 500"


@pytest.mark.parametrize(
    ("value", "known", "text"),
    [
        (
            "evidance",
            ["direct", "evidence"],
            "unknown policy 'evidance'; did you mean 'evidence'? Known: direct, evidence.",
        ),
        ("xyz", ["b", "a"], "unknown policy 'xyz'. Known: a, b."),
        ("xyz", [], "unknown policy 'xyz'. Known: none."),
        ("", ["a"], "unknown policy ''. Known: a."),
    ],
)
def test_what_is_unknown_is_met_with_what_is_known(value, known, text):
    """The nearest known name, then all of them in order."""
    assert unknown("policy", value, known) == text


# ------------------------------------------------------------------ imports


def test_none_of_these_modules_loads_anything_heavy():
    """The pure modules import in a moment: no models, no network, no pictures."""
    heavy = "torch transformers openai httpx numpy PIL rich llguidance"
    code = "import sys\n" + "\n".join(f"import iterreason.{name}" for name in MODULES.split())
    code += f"\nprint([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
