"""When two short texts mean the same, and which choice a reply names."""

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iterreason.folding import fold, match_choice, match_letter, same_text

YES_NO = ("yes", "no")
LABELS = ("entailment", "neutral", "contradiction")
# Short texts full of what folding looks at.
tricky = st.text(alphabet="aAbtheon 1205,.-−–'’*()#%$+_²½\u0301\u0345\u200b\ufe0f\n是", max_size=14)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes", "yes"),
        ("YES!", "yes"),
        ("Entailment", "entailment."),
        ("  a   dog ", "dog"),
        ("The dog.", "a dog"),
        ("an apple", "apple"),
        ("two", "2"),
        ("Two dogs", "2 dogs"),
        ("zero", "0"),
        ("twenty", "20"),
        ("1,000", "1000"),
        ("1,000,000", "1000000"),
        ("“red”", "red"),
        ("'red'", "red"),
        ("`red`", "red"),
        ("**red**", "red"),
        ("_red_", "red"),
        ("red-ish", "red ish"),
        ("t-shirt", "a T shirt"),
        ("don’t", "don't"),
        ("ﬁre", "fire"),
        ("ｆｉｒｅ", "fire"),
        ("café", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("yes\u200b", "yes"),
        ("\ufeffyes", "yes"),
        ("\u200fنعم", "نعم"),
        ("نعم.", "نعم"),
        ("是。", "是"),
        ("“是”", "是"),
        ("¿qué?", "que\u0301"),
        ("✔️", "✔"),
        ("٣", "3"),
        ("３", "three"),
        ("−5", "-5"),
        ("–5", "-5"),
        ("5.", "5"),
        ("(5)", "5"),
        ("red\n", "red"),
        ("①", "1"),
    ],
)
def test_what_does_not_change_the_meaning_is_folded_away(one, other):
    """Unicode form, case, punctuation, articles and number words make no difference."""
    assert fold(one) == fold(other)
    assert same_text(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-5", "5"),
        ("−5", "5"),
        ("–5", "5"),
        ("-.5", ".5"),
        ("-$5", "$5"),
        (".5", "5"),
        ("1.5", "15"),
        ("1.5", "1 5"),
        ("1,5", "15"),
        ("1,50", "150"),
        ("3-5", "35"),
        ("10²", "102"),
        ("1½", "11/2"),
        ("1/2", "12"),
        ("50%", "50"),
        ("$5", "€5"),
        ("C", "C++"),
        ("C", "C#"),
        ("C++", "C#"),
        ("A+", "A"),
        ("vitamin A", "vitamin"),
        ("vitamin A", "vitamin B"),
        ("A, B", "B"),
        ("A B", "B"),
        ("it's", "its"),
        ("can't", "can"),
        ("yes", "no"),
        ("😀", "😢"),
        ("👍", "👎"),
        ("是", "不是"),
        ("نعم", "لا"),
        ("<", ">"),
        ("?", "!"),
        ("*", "#"),
    ],
)
def test_what_changes_the_meaning_is_kept(one, other):
    """Signs, decimal points, letters and symbols tell texts apart."""
    assert not same_text(one, other)


@given(st.one_of(st.text(max_size=30), tricky))
@example("-_5")
@example("_'a")
@example("the a the")
@example("a a b")
def test_folding_twice_is_folding_once(text):
    """A folded text is in its final form."""
    assert fold(fold(text)) == fold(text)


def test_every_character_folds_to_a_final_form():
    """No character of Unicode needs a second folding, alone or between digits."""
    small = [chr(c) for c in range(0x3000)] + [chr(c) for c in range(0xF900, 0x10000)]
    for c in small:
        for text in (c, f"1{c}1", f"a{c}"):
            once = fold.__wrapped__(text)
            assert fold.__wrapped__(once) == once, ascii(text)


@given(st.one_of(st.text(min_size=1, max_size=30), tricky))
def test_only_what_nobody_sees_folds_to_nothing(text):
    """A text with anything visible in it keeps something."""
    visible = any(not c.isspace() and unicodedata.category(c) != "Cf" and c != "\ufe0f" for c in text)
    assert bool(fold(text)) == visible or not unicodedata.normalize("NFKC", text).strip()


# ------------------------------------------------------------------ choices


@pytest.mark.parametrize(
    ("reply", "choices", "named"),
    [
        # by text
        ("yes", YES_NO, "yes"),
        ("Yes.", YES_NO, "yes"),
        ("**yes**", YES_NO, "yes"),
        ('"No"', YES_NO, "no"),
        ("  NO \n", YES_NO, "no"),
        ("yes\u200b", YES_NO, "yes"),
        ("Entailment", LABELS, "entailment"),
        ("entailment.", ("Entailment", "neutral"), "Entailment"),
        ("two", ("2", "3"), "2"),
        ("3", ("two", "three"), "three"),
        ("1000", ("1,000", "100"), "1,000"),
        ("-5", ("5", "-5"), "-5"),
        ("5", ("-5", "5"), "5"),
        ("−5", ("5", "-5"), "-5"),
        ("1.5", ("15", "1.5"), "1.5"),
        ("C++", ("C", "C#", "C++"), "C++"),
        ("c#", ("C", "C#", "C++"), "C#"),
        ("C", ("C++", "C#", "C"), "C"),
        ("the dog", ("a cat", "a dog"), "a dog"),
        ("A dog.", ("cat", "dog"), "dog"),
        ("👍🏽", ("👍🏽", "👎"), "👍🏽"),
        ("是。", ("是", "不是"), "是"),
        ("\u200fنعم", ("نعم", "لا"), "نعم"),
        ("A. SMITH", ("B. Smith", "A. Smith"), "A. Smith"),
        ("e. coli", ("Salmonella", "E. coli"), "E. coli"),
        ("A and B", ("A", "B", "A and B"), "A and B"),
        # by letter
        ("A", YES_NO, "yes"),
        ("b", YES_NO, "no"),
        ("B.", YES_NO, "no"),
        ("(B)", YES_NO, "no"),
        ("[b]", YES_NO, "no"),
        ("B)", YES_NO, "no"),
        ("**B**", YES_NO, "no"),
        ("Ｂ", YES_NO, "no"),
        ("C", LABELS, "contradiction"),
        ("a", ("b side", "side"), "b side"),
        # by letter and text that agree
        ("(B) no", YES_NO, "no"),
        ("B: no", YES_NO, "no"),
        ("**B)** No.", YES_NO, "no"),
        ("B: **no**", YES_NO, "no"),
        ("B - no", YES_NO, "no"),
        ("B, no", YES_NO, "no"),
        ("A. the dog", ("dog", "cat"), "dog"),
        ("B: -5", ("5", "-5"), "-5"),
        # choices that are letters go by their text
        ("A", ("B", "A"), "A"),
        ("a.", ("B", "A"), "A"),
        ("B", ("B", "A"), "B"),
        ("A", ("A", "B"), "A"),
        ("(A)", ("C", "B", "A"), "A"),
        ("A: A", ("B", "A"), "A"),
        ("b", ("a", "no"), "no"),
    ],
)
def test_a_reply_names_its_choice(reply, choices, named):
    """A choice is named by its text after folding, or by its letter where the reply is a letter."""
    assert match_choice(reply, choices) == named


@pytest.mark.parametrize(
    ("reply", "choices"),
    [
        ("", YES_NO),
        (" ", YES_NO),
        ("\u200b", YES_NO),
        ("...", YES_NO),
        ("I see 2 dogs and 3 cats", ("2", "3")),
        ("2 or 3", ("2", "3")),
        ("12", ("1", "2")),
        ("21", ("1", "2")),
        ("5", ("-5", "15")),
        ("-5", ("5", "15")),
        ("15", ("1.5", "1.6")),
        ("1.5", ("15", "5")),
        (".5", ("5", "50")),
        ("102", ("10²", "10³")),
        ("A: no", YES_NO),
        ("(B) yes", YES_NO),
        ("A) no", YES_NO),
        ("A - no", YES_NO),
        ("C: no", YES_NO),
        ("B: 5", ("5", "-5")),
        ("C", YES_NO),
        ("Z", LABELS),
        ("A, B", ("A", "B")),
        ("A B", ("A", "B")),
        ("A, B", ("B", "A")),
        ("A/B", ("A", "B")),
        ("A or B", YES_NO),
        ("A or no", YES_NO),
        ("C++", ("x", "y", "z")),
        ("C#", ("x", "y", "z")),
        ("C++", ("C", "D")),
        ("B+", YES_NO),
        ("vitamin", ("vitamin A", "vitamin B")),
        ("yes or no", YES_NO),
        ("yes, no", YES_NO),
        ("yes yes", YES_NO),
        ("not yes", YES_NO),
        ("The answer is no", YES_NO),
        ("nope", YES_NO),
        ("non", YES_NO),
        ("ja", YES_NO),
        ("是的", ("是", "不是")),
        ("😀", YES_NO),
        ("1", YES_NO),
        ("the B side", YES_NO),
        ("б", YES_NO),
    ],
)
def test_anything_else_names_no_choice(reply, choices):
    """Where the reply is not plainly one choice it is none: no digit, word or letter is picked out of it."""
    assert match_choice(reply, choices) is None


def test_a_letter_of_a_read_out_goes_by_position():
    """Where letters were asked for, A is the first, whatever the choices' own texts are."""
    assert match_letter("A", ("B", "A")) == "B"
    assert match_letter("(b).", ("B", "A")) == "A"
    assert match_letter("C", ("B", "A")) is None
    assert match_letter("A B", ("B", "A")) is None
    assert match_letter("A" * 200, ("B", "A")) is None


@given(st.text(max_size=40) | tricky, st.lists(st.text(min_size=1, max_size=12) | tricky, max_size=26))
def test_matching_never_raises_and_gives_a_member(reply, choices):
    """Whatever the texts, the match is one of the choices or None."""
    assert match_choice(reply, choices) in (None, *choices)
    assert match_letter(reply, choices) in (None, *choices)


@given(st.lists(st.text(min_size=1, max_size=12) | tricky, min_size=1, max_size=26, unique_by=fold))
@settings(max_examples=200)
def test_a_choice_names_itself(choices):
    """A reply that is a choice's own text names that choice, whatever the others are."""
    assert [match_choice(c, choices) for c in choices if fold(c)] == [c for c in choices if fold(c)]


def test_noise_names_nothing_and_takes_no_time():
    """A long reply is turned away before any work is done on it."""
    began = time.process_time()
    for noise in (
        "yes " * 25_000,
        "(" * 100_000,
        "B" + " " * 100_000 + "x",
        "A)" * 50_000,
        "[" * 1_900,
        "*_" * 900,
        "x " * 900,
    ):
        assert match_choice(noise, YES_NO) is None
    assert time.process_time() - began < 1
