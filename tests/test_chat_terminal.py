"""The session in a real terminal: the program is driven through a pseudo-terminal, and its screen is compared."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer
from terminal_screen import Terminal
from test_chat import SCRIPT, write_script
from written import verdict

from iterreason.demo import problems
from iterreason.trace import read_traces

START_SECONDS = 6.0  # an idle machine needs under one; tests share theirs
FEEDBACK_SECONDS = 1.0  # 0.1 on an idle machine
Open = Callable[..., Terminal]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens sessions about a drawn scene, whose models are a script unless others are named."""
    (tmp_path / "scene.png").write_bytes(problems()[0].images[0].data)
    write_script(tmp_path / "script.jsonl")
    terminals: list[Terminal] = []

    def begin(*more: str, reasoner: str = "", graphics: str = "", **environment: str) -> Terminal:
        script = f"scripted:{tmp_path / 'script.jsonl'}"
        models = ["--reasoner", reasoner or script, "--answerer", script] if reasoner != "embedded" else []
        about = () if "--resume" in more else (tmp_path / "scene.png", *models)
        environment = {"XDG_STATE_HOME": str(tmp_path / "state")} | environment
        terminals.append(Terminal("chat", *about, *more, graphics=graphics, **environment))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.close()


ANSWERED = """\
> Are there red circles?
thinking …
  [1] caption: two red circles   ██████       0.50
  [2] Are there red circles? → yes   ████████▍    0.70
round 1
  ⇒ yes  confidence 0.70  Because of what was seen. [2]
      yes  ████████▍    0.70
round 2
  ? how many red circles?
  [3] how many red circles? → 2   ██████████▊  0.90
  ⇒ yes  confidence 0.94  Because of what was seen. [2][3]
      yes  ███████████▍ 0.94  ▲ 0.24
belief, by round      1      2
  yes              0.70   0.94
  outside these    0.30   0.06
answer: yes  confidence 0.94 (combined)
stopped: confident: 0.94 ≥ 0.90, stable: same answer for 2 rounds
"""


def test_the_screen_of_an_answered_question(opened):
    """On 80×24: the picture, the rounds as they come with bars, the prompt below, the status line at the bottom."""
    terminal = opened()
    terminal.until("0 known · /help", START_SECONDS)
    assert "▀▀▀▀" in terminal.past
    assert "image 1: scene.png 192×192" in terminal.text
    terminal.type("Are there red circles?")
    assert terminal.until("thinking", FEEDBACK_SECONDS) < FEEDBACK_SECONDS
    terminal.until("same answer for 2 rounds")
    terminal.until("3 known · /help")
    assert ANSWERED in terminal.past
    assert terminal.text.splitlines()[-1] == "evidence · scene.png · 3 known · /help"
    terminal.child.sendeof()
    assert terminal.ended() == 0


@pytest.mark.parametrize(
    ("graphics", "begins"), [("sixel", rb"\x1bP0;0;0q"), ("kitty", rb"\x1b_G[^\x1b]*f=100,[^\x1b]*;iVBORw0KGgo")]
)
def test_the_picture_is_drawn_by_what_the_terminal_can(opened, graphics, begins):
    """A terminal that says it knows Sixel, or Kitty's protocol, is sent the picture so; the prompt works as ever."""
    for _ in range(5):  # textual-image waits a tenth of a second for the reply, which a busy machine may miss
        terminal = opened(graphics=graphics)
        terminal.until("/help", START_SECONDS)
        if re.search(begins, terminal.raw):
            break
        terminal.close()
    assert re.search(begins, terminal.raw)
    assert "▀" not in terminal.past
    terminal.type("Are there red circles?")
    terminal.until("stopped:")
    terminal.child.sendeof()
    assert terminal.ended() == 0


@pytest.mark.parametrize("how", [{"NO_COLOR": "1"}, {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}])
def test_without_colour_and_without_unicode(opened, how):
    """NO_COLOR sends no colour at all; a terminal without Unicode gets ASCII bars and signs."""
    terminal = opened(**how)
    terminal.until("/help", START_SECONDS)
    terminal.type("Are there red circles?")
    terminal.until("same answer for 2 rounds")
    assert not [code for code in (b"[31m", b"[32m", b"[33m", b"[36m", b"38;5;", b";90m") if code in terminal.raw]
    if "PYTHONIOENCODING" in how:
        assert terminal.raw.isascii()
        assert "[###########.] 0.94  + 0.24" in terminal.past


def test_plain_lines_for_a_screen_reader(opened):
    """--plain moves no cursor, draws nothing and says probabilities in words."""
    terminal = opened("--plain")
    terminal.until("iterreason>", START_SECONDS)
    terminal.type("Are there red circles?")
    terminal.until("stopped:")
    assert "[3] how many red circles?: 2   probability 0.90" in terminal.past
    assert "concludes: yes" in terminal.past
    assert b"\x1b[" not in terminal.raw.replace(b"\x1b[?2004h", b"").replace(b"\x1b[?2004l", b"")
    terminal.child.sendeof()
    assert terminal.ended() == 0


def test_a_resize_leaves_a_usable_screen(opened):
    """After a resize the status line fits the new width and the next question is answered."""
    terminal = opened()
    terminal.until("/help", START_SECONDS)
    terminal.resize(32, 12)
    terminal.type("Are there red circles?")
    terminal.until("stopped:")
    terminal.until("evidence · scene.png · 3 known…")
    assert terminal.text.splitlines()[-1] == "evidence · scene.png · 3 known…"  # 31 of 32 columns, on one line
    terminal.child.sendeof()
    assert terminal.ended() == 0


def test_commands_paths_and_policies_are_completed(opened):
    """Tab completes a command, a policy's name and a path; arrow up brings the last line back."""
    terminal = opened()
    terminal.until("/help", START_SECONDS)
    terminal.child.send("/pol")
    terminal.until("reason by another policy")
    terminal.child.send("\t dir")
    terminal.until("> /policy dir")
    terminal.until("        direct")
    terminal.child.send("\t")
    terminal.until("> /policy direct")
    terminal.child.send("\r")
    terminal.until("policy direct")
    terminal.child.send("\x1b[A")
    terminal.until("direct · scene.png")
    terminal.child.send("\x03")
    terminal.child.sendeof()
    assert terminal.ended() == 0


class Hanging:
    """A reasoner's server that does not answer while `hangs` is set."""

    def __init__(self, server: FakeServer) -> None:
        self.hangs = True
        server.script(*[self.answer] * 400)

    def answer(self, body: dict[str, object]) -> str:
        while self.hangs and "Round" in json.dumps(body.get("messages")):
            time.sleep(0.02)
        return verdict("yes", cites=[2])


def test_ctrl_c_stops_the_question_and_keeps_what_was_learned(opened, fake, tmp_path):
    """The evidence that came in stays, what was typed meanwhile counts, and the next question is answered."""
    hanging = Hanging(fake)
    terminal = opened(reasoner=f"openai:m@{fake.url}", ITERREASON_API_KEY="x")
    terminal.until("/help", START_SECONDS)
    terminal.type("Are there red circles?")
    terminal.until("[2] Are there red circles?")
    terminal.type("/tell it rains")
    terminal.until("noted; the next round knows it")
    terminal.child.send("\x03")
    terminal.until("stopped: stopped by a person", 5)
    hanging.hangs = False
    terminal.until("[3] person says: it rains", 5)
    terminal.type("and now?")
    terminal.until("answer: yes")
    terminal.child.sendeof()
    assert terminal.ended() == 0
    (file,) = (tmp_path / "state").rglob("*.jsonl")
    assert next(read_traces(file)).replay().stop_reason == "stopped by a person"


def test_an_interrupt_that_is_a_signal_does_what_the_key_does(opened, fake, tmp_path):
    """Between two prompts the terminal makes a signal of Ctrl-C; it stops the question, and never the session."""
    hanging = Hanging(fake)
    terminal = opened(reasoner=f"openai:m@{fake.url}", ITERREASON_API_KEY="x")
    terminal.until("/help", START_SECONDS)
    os.kill(terminal.child.pid, signal.SIGINT)  # nothing runs: nothing happens
    terminal.type("Are there red circles?")
    terminal.until("[2] Are there red circles?")
    os.kill(terminal.child.pid, signal.SIGINT)
    terminal.until("stopped: stopped by a person", 5)
    hanging.hangs = False
    terminal.type("and now?")
    terminal.until("answer: yes")
    terminal.child.sendeof()
    assert terminal.ended() == 0


def test_a_killed_session_is_resumed(opened, fake, tmp_path):
    """After kill -9 in the middle of a question, --resume goes on with it."""
    hanging = Hanging(fake)
    terminal = opened(reasoner=f"openai:m@{fake.url}", ITERREASON_API_KEY="x")
    terminal.until("/help", START_SECONDS)
    terminal.type("Are there red circles?")
    terminal.until("[2] Are there red circles?")
    os.kill(terminal.child.pid, signal.SIGKILL)
    hanging.hangs = False
    again = opened("--resume", ITERREASON_API_KEY="x")
    again.until("going on with: Are there red circles?", START_SECONDS)
    again.until("answer: yes")
    again.child.sendeof()
    assert again.ended() == 0


def test_escape_sequences_of_a_model_do_not_reach_the_terminal(opened, tmp_path):
    """What a model writes cannot clear the screen or set the title."""
    lines = [{**line, "text": "\x1b]0;owned\x07\x1b[2J2"} if line.get("text") == "2" else line for line in SCRIPT]
    write_script(tmp_path / "script.jsonl", *lines)
    terminal = opened()
    terminal.until("/help", START_SECONDS)
    terminal.type("Are there red circles?")
    terminal.until("stopped:")
    assert b"\x1b]0;owned" not in terminal.raw
    assert "]0;owned" in terminal.past


def test_the_embedded_pair_answers(opened):
    """With no model named, the pair that comes with the package answers, and a follow-up knows what it found."""
    terminal = opened(reasoner="embedded")
    terminal.until("/help", START_SECONDS)
    terminal.type("Are there more red circles than blue squares?")
    terminal.until("stopped:", 180)
    assert "answer: yes" in terminal.past
    known = terminal.past.count("caption:")
    terminal.type("Are there blue squares?")
    deadline = time.monotonic() + 180
    while terminal.past.count("stopped:") < 2 and time.monotonic() < deadline:
        terminal.read()
    assert terminal.past.count("stopped:") == 2
    assert terminal.past.count("caption:") == known == 1
    assert b"Loading weights" not in terminal.raw
    terminal.child.sendeof()
    assert terminal.ended() == 0
