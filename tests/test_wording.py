"""What the embedded answerer makes of a question in words that it was not taught."""

from __future__ import annotations

import asyncio
import json
import math
from importlib.resources import files
from pathlib import Path

import pytest

from iterreason.calls import EMPTY_PROMPT, Call, Look, Reply, Sample, Sampling, View
from iterreason.confidence import from_scores
from iterreason.errors import ModelFailed
from iterreason.folding import same_text
from iterreason.images import load_image
from iterreason.models.embedded import answerer
from iterreason.models.embedded.wording import Wording, guessing
from iterreason.tuning import fit_wording
from iterreason.tuning.fit_limits import photographs
from iterreason.tuning.scenes import draw, make_scene, scene_rng

SHIPPED = Path(str(files("iterreason.models.embedded") / "answerer" / "wording.json"))


def small(understood: float = 0.4) -> Wording:
    """Taught one question."""
    blank = Wording({"red": "<colour>", "blue": "<colour>"}, frozenset(), understood)
    return Wording(blank.classes, frozenset(blank.of("Is the red circle big?")), understood)


def test_a_question_is_known_where_each_three_words_in_a_row_are():
    """Case, marks and another colour do not matter; a word more, less or elsewhere does."""
    wording = small()
    assert wording.share("is the BLUE circle big") == 1.0
    assert wording.share("") == wording.share(None) == 1.0
    for other in (
        "is the red circle very big?",
        "the red circle is big?",
        "is the red circle",
        "is it?",
        "?",
        "Сколько кругов?",
    ):
        assert wording.share(other) == 0.4


def test_who_did_not_understand_guesses():
    """A mixture: what was said with 0.4, each choice alike with 0.6; an open answer with 0.4 of its probability."""
    reply = Reply((Sample("yes", (math.log(0.9), 0.0)),), scores=(math.log(0.9), math.log(0.1)))
    changed = guessing(reply, 0.4)
    belief = from_scores("yes", ("yes", "no"), changed, same_text)
    assert belief.confidence == pytest.approx(0.4 * 0.9 + 0.6 / 2)
    assert belief.outside == pytest.approx(0.0, abs=1e-9)
    assert changed.samples[0].probability == pytest.approx(0.36)
    assert guessing(Reply((Sample("yes"),)), 0.4).samples[0].probability is None


def test_the_share_is_that_under_which_the_right_answers_are_likeliest():
    """Of 100 questions with two choices, all answered with 0.99, 70 are right: 0.4 understood, 0.3 guessed rightly."""
    assert fit_wording.fitted_share([(0.99, 2)] * 70 + [(0.01, 2)] * 30) == pytest.approx(0.41, abs=0.011)


def test_the_shipped_words_are_those_of_training():
    """Fresh training questions are in them, but for one in a hundred; the rewordings and the held-out ones are not."""
    wording = Wording.load(SHIPPED)
    trained = list(fit_wording.trained(100, first=10**5))
    assert sum(wording.share(text) < 1 for text in trained) <= len(trained) / 100
    for words in ("reworded", "held out"):
        flagged = [wording.share(lesson.text) < 1 for lesson in fit_wording.lessons(100, words)]
        assert sum(flagged) >= 90
    recorded = json.loads(SHIPPED.read_text())["flagged"]
    assert recorded["held out"]["share"] > 0.9 > 0.01 > recorded["trained questions"]["share"]


def test_the_answerer_is_less_sure_in_other_words_and_says_the_same():
    """The same weights, the same answer; only the probability allows for not having understood."""
    image = load_image(draw(make_scene(scene_rng(7, "dev", 0))))

    def asked(text: str, **options) -> Reply:
        call = Call(
            "answerer:0", "look", EMPTY_PROMPT.plus("user", text), Look(View(image), text), Sampling(0.0, 10),
            choices=("yes", "no"),
        )  # fmt: skip
        return asyncio.run(answerer(**options).complete(call))

    known, other = "is there a red circle?", "i wonder whether some circle in here happens to be red"
    plain, doubted = asked(other, doubts_words=False), asked(other)
    share = Wording.load(SHIPPED).understood
    assert doubted.text == plain.text
    assert doubted.scores == pytest.approx(guessing(plain, share).scores)
    assert asked(known).scores == pytest.approx(asked(known, doubts_words=False).scores)


def test_broken_words_are_an_error_with_the_command(tmp_path):
    """The file is named, and what makes it anew."""
    from iterreason.models.embedded.bounded import _beside

    (tmp_path / "wording.json").write_text("{")
    with pytest.raises(ModelFailed, match=r"wording\.json: .*; run: python -m iterreason\.tuning\.fit_wording"):
        _beside(tmp_path, "wording", Wording.load)


def test_an_image_that_is_no_scene_and_other_words_both_count():
    """The two doubts multiply."""
    photograph = load_image(next(iter(photographs().values())))
    text = "i wonder whether some circle in here happens to be red"
    call = Call("answerer:0", "look", EMPTY_PROMPT.plus("user", text), Look(View(photograph), text), Sampling(0.0, 10))
    plain = asyncio.run(answerer(doubts_words=False).complete(call)).samples[0].probability
    both = asyncio.run(answerer().complete(call)).samples[0].probability
    assert plain < 0.5
    assert both == pytest.approx(plain * Wording.load(SHIPPED).understood)
