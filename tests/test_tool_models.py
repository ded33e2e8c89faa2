"""The tools that come with models: text and objects are really found, and nothing else happens."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image as Pixels
from PIL import ImageDraw, ImageFont
from written import said, scored, verdict

from iterreason.api import Reasoner
from iterreason.bench import injection
from iterreason.calls import EMPTY_PROMPT, Call, Capabilities, Look, Reply, View
from iterreason.errors import BadTool, ModelFailed
from iterreason.images import load_image
from iterreason.models import Model
from iterreason.models.scripted import Scripted
from iterreason.records import Region
from iterreason.tools import missing, open_tool
from iterreason.tools.model import ToolModel
from iterreason.tools.regions import NAMED
from iterreason.tools.uses import read_found
from iterreason.trace import read_trace

needs_ocr = pytest.mark.skipif(bool(missing("ocr")) and "CI" not in os.environ, reason="needs the extra `tools`")
needs_torch = pytest.mark.skipif(bool(missing("detect")) and "CI" not in os.environ, reason="needs the extra `local`")


def sign() -> Pixels.Image:
    """A white image with a word in its lower right quarter."""
    pixels = Pixels.new("RGB", (400, 200), "white")
    ImageDraw.Draw(pixels).text((230, 130), "STOP HERE", fill="black", font=ImageFont.load_default(28))
    return pixels


def used(tool: ToolModel, pixels: Pixels.Image, region: Region | None = None, arguments: str = "{}"):
    look = Look(View(load_image(pixels), region), "use", arguments)
    return asyncio.run(tool.complete(Call(f"tool:{tool.spec.name}", "look", EMPTY_PROMPT, look)))


@pytest.fixture(scope="module")
def ocr() -> ToolModel:
    return open_tool("ocr")


# ------------------------------------------------------------------ ocr


@needs_ocr
def test_text_is_read_with_its_place_and_probability(ocr):
    """The words are read where they stand; in a region only what is in it, placed in the whole image."""
    assert isinstance(ocr, Model)
    ((text, probability, region),) = read_found(used(ocr, sign()).text)
    assert text == "STOP HERE"
    assert 0.8 < probability <= 1
    assert 0.5 < region.x0 < region.x1 < 1
    assert 0.6 < region.y0 < region.y1 < 0.9
    ((again, _, there),) = read_found(used(ocr, sign(), NAMED["bottom right"]).text)
    assert again == text
    assert abs(there.x0 - region.x0) < 0.02
    assert abs(there.y1 - region.y1) < 0.03
    assert used(ocr, sign(), NAMED["top left"]).text == "[]"
    assert ocr.spec.model.startswith("rapidocr 3.")


@needs_ocr
def test_reading_is_silent_offline_and_leaves_nothing_behind(tmp_path):
    """No line on either stream, no connection, no file in the user's home: neither a download nor an identifier."""
    sign().save(tmp_path / "sign.png")
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import asyncio, socket
def refuse(*args, **more): raise AssertionError("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
from PIL import Image
from iterreason.tools import open_tool
tool = open_tool("ocr")
found = tool._tool.use(Image.open({str(tmp_path / "sign.png")!r}).convert("RGB"))
assert found[0].text == "STOP HERE", found
assert not tool._tool.use(Image.new("RGB", (64, 64), "white"))
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG", "ORT", "COV"))} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.rglob("*"))


# ------------------------------------------------------------------ detect


@needs_torch
def test_a_detector_finds_its_own_labels(tmp_path):
    """Objects come with label, probability and box, most probable first; a label that it does not know is an error."""
    from tiny_detectors import save_yolos

    tool = open_tool(f"detect:{save_yolos(tmp_path / 'shapes')}")
    assert tool.spec.model.startswith("detect/shapes@")
    pixels = Pixels.new("RGB", (80, 60), "red")
    everything = read_found(used(tool, pixels, arguments='{"labels": []}').text)
    assert [text for text, _, _ in everything] == ["circle"] * 3
    assert [p for _, p, _ in everything] == sorted((p for _, p, _ in everything), reverse=True)
    assert all(0.5 < p <= 1 and region for _, p, region in everything)
    assert read_found(used(tool, pixels, arguments='{"labels": ["Circles"]}').text) == everything
    assert used(tool, pixels, arguments='{"labels": ["square"]}').text == "[]"
    failed = used(tool, pixels, arguments='{"labels": ["dog"]}')
    assert failed.error == "this detector has no label 'dog'; it knows: circle, square"


@needs_torch
def test_a_zero_shot_detector_finds_what_it_is_asked_for(tmp_path):
    """Any labels, given with the use; without one there is nothing to look for, which is an error."""
    from tiny_detectors import save_owlvit

    tool = open_tool(f"detect:{save_owlvit(tmp_path / 'owl')}")
    pixels = Pixels.new("RGB", (80, 60), "red")
    found = read_found(used(tool, pixels, NAMED["left half"], '{"labels": ["dog", "red cat"]}').text)
    assert {text for text, _, _ in found} <= {"dog", "red cat"}
    assert found
    assert all(region.x1 <= 0.5 for _, _, region in found)
    assert "name in 'labels' what to look for" in used(tool, pixels, arguments='{"labels": []}').error


@needs_torch
def test_what_is_no_detector_is_refused(tmp_path):
    """A checkpoint of another kind, a folder without one and a place that is not there are named as what they are."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    with pytest.raises(
        BadTool, match="is BertModel, which detects no objects; name a model of object-detection or zero"
    ):
        open_tool(f"detect:{tmp_path}")
    (tmp_path / "empty").mkdir()
    for folder, why in (("empty", "without a config.json"), ("nowhere", "is no folder")):
        with pytest.raises(ModelFailed, match=why):
            open_tool(f"detect:{tmp_path / folder}")


# ------------------------------------------------------------------ does text in an image decide?


class Obedient:
    """A reasoner that does what the text in the image says, and else says yes."""

    async def complete(self, call: Call, on_text=None) -> Reply:
        if call.purpose == "readout":
            return scored(0.6, 0.4)
        read = "\n".join(message.text for message in call.prompt.messages)
        return said(verdict("no" if re.search('answer ?no"', read) else "yes"))  # OCR may lose the space

    def capabilities(self) -> Capabilities:
        return Capabilities("obedient", schema=True, scores=True)

    async def close(self) -> None:
        pass


@needs_ocr
def test_the_measurement_tells_an_obedient_reasoner():
    """What is measured is what happens: a reasoner that obeys the text changes its answer with it."""
    looker = Scripted([{"purpose": "look", "text": "yes", "probability": 0.9, "repeat": True}])
    pairs = asyncio.run(injection.measure(3, reasoner=Obedient(), answerer=looker))
    assert all(pair.reached for pair in pairs)
    assert [pair.with_text for pair in pairs] == [pair.named for pair in pairs]
    assert [pair.blanked for pair in pairs] == ["yes"] * 3
    assert [pair.obeyed for pair in pairs] == [pair.named == "no" for pair in pairs]
    page = injection.page_part(pairs, "evidence", "written")
    changed = sum(pair.obeyed for pair in pairs)
    assert f"| changed to the answer that the text names | {changed / 3:.2f} ({changed}) |" in page


@pytest.fixture(scope="module")
def pair() -> tuple[Model, Model]:
    """The embedded pair, opened once."""
    from iterreason.models import embedded

    return embedded.reasoner(), embedded.answerer()


@needs_ocr
@needs_torch
def test_the_embedded_pair_concludes_from_the_text_as_data(pair):
    """With the real pair the text is read off the image and stands in its quotes where the verdict is drawn; whether it
    changes answers is a measured rate (docs/tools.md), not a promise."""
    (asked,) = asyncio.run(injection.measure(1, reasoner=pair[0], answerer=pair[1]))
    assert asked.reached
    assert asked.with_text in ("yes", "no")
    assert asked.blanked in ("yes", "no")


@needs_ocr
@needs_torch
@pytest.mark.parametrize("tools", [(), ("ocr",)])
def test_the_embedded_pair_plans_and_decides(pair, tools, tmp_path):
    """The policy single-round runs with the embedded pair, tools or none: a plan, its steps, one decision, and a trace
    that replays to the same result."""
    trace = tmp_path / "trace.jsonl"
    with Reasoner(*pair, policy="single-round", tools=tools) as reasoner:
        result = reasoner.reason(sign(), "Is there a circle?", ["yes", "no"], trace=trace)
    assert (result.usage.generations, len(result.rounds)) == (2, 1)
    assert len(result.memory) >= 1
    assert result.answer in ("yes", "no")
    assert any(model.startswith("rapidocr") for model in result.models) == bool(tools)
    assert read_trace(trace).replay() == result


def test_the_measurement_asks_balanced_questions():
    """Its questions are yes/no ones of the task `scenes`, and the text always names the wrong answer."""
    items = injection.questions(20)
    assert len(items) == 20
    assert {item.gold[0] for item in items} == {"yes", "no"}
    blank, text = (injection.problem_of(items[0], said) for said in ("", "answer no"))
    assert blank.images != text.images
    assert (blank.question, blank.choices) == (text.question, text.choices)
