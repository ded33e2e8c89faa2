"""A session without a terminal: what can be typed, what it does, and what is on disk afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pixels
from terminal_screen import COMMAND
from written import Script, image, plan, scored, verdict

from iterreason.calls import STOPPED, Reply, Returned, Stopped
from iterreason.chat import inputs
from iterreason.chat.inputs import parse
from iterreason.chat.screen import Style, belief_lines, happened
from iterreason.chat.session import Exchange, Session
from iterreason.chat.tuned import PolicyChoice
from iterreason.errors import BadPolicy, MissingExtra, Misuse
from iterreason.loop import episode
from iterreason.policy import find_policy
from iterreason.records import Candidate, Evidence, Region
from iterreason.trace import read_traces

SCRIPT = (
    {"capabilities": {"scores": False}},
    {"question": "", "text": "two red circles", "probability": 0.5, "repeat": True},
    {"question": "how many red circles?", "text": "2", "probability": 0.9, "repeat": True},
    {"purpose": "look", "text": "yes", "probability": 0.7, "repeat": True},
    {"contains": "Round 1", "text": verdict("yes", "how many red circles?", cites=[2]), "repeat": True},
    {"contains": "Round 2", "text": verdict("yes", cites=[3]), "repeat": True},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture, and a script that plays both roles."""
    Pixels.new("RGB", (64, 48), (200, 40, 40)).save(tmp_path / "scene.png")
    Pixels.new("RGB", (64, 48), (40, 40, 200)).save(tmp_path / "other.png")
    write_script(tmp_path / "script.jsonl")
    return tmp_path


def write_script(path: Path, *lines: dict[str, object]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines or SCRIPT))


def piped(folder: Path, typed: str, *arguments: str, code: int = 0) -> str:
    """What a session prints whose lines come through a pipe."""
    models = [f"--{role}=scripted:script.jsonl" for role in ("reasoner", "answerer")]
    words = [COMMAND, "chat", *arguments, *([] if "--resume" in arguments else models)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ITERREASON")}
    done = subprocess.run(
        words, input=typed, cwd=folder, capture_output=True, text=True, timeout=60,
        env=kept | {"XDG_STATE_HOME": str(folder / "state")},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    return done.stdout


def sessions(folder: Path) -> list[Path]:
    return sorted((folder / "state").rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("is it red?", inputs.Reason("is it red?")),
        ("//etc is a folder?", inputs.Reason("/etc is a folder?")),
        ("/ask is it red?", inputs.AskAnswerer("is it red?")),
        ("/tell it is red", inputs.Tell("it is red")),
        ("/veto [3]", inputs.Veto(3)),
        ("/look upper left", inputs.LookAt(Region(0, 0, 0.5, 0.5))),
        ("/look 0.1,0.2,0.5,0.9", inputs.LookAt(Region(0.1, 0.2, 0.5, 0.9))),
        ("/policy direct", inputs.UsePolicy("direct")),
        ("/stop 0.8", inputs.StopAt(0.8)),
        ("/stop", inputs.StopAt(None)),
        ("/model answerer a:x b:y", inputs.UseModel("answerer", ("a:x", "b:y"))),
        ("/export html a b.html", inputs.Export("html", "a b.html")),
        ("   ", None),
    ],
)
def test_a_line_is_a_question_or_a_command(line, read):
    """Each command is read into a record of its own; anything else is a question."""
    assert parse(line) == read


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/vetoo 3", "did you mean 'veto'"),
        ("/veto three", "a whole number from 1"),
        ("/stop 2", "from 0 to 1"),
        ("/stop nan", "from 0 to 1"),
        ("/rounds 0", "from 1 to 50"),
        ("/look nowhere", "top left"),
        ("/model judge x", "Known: answerer, reasoner"),
        ("/export pdf", "Known: html, json"),
        ("/tell", "name the fact"),
        ("/undo it all", "takes nothing more"),
    ],
)
def test_a_line_that_means_nothing_says_what_would(line, said):
    """A command that cannot be read names the value and what can stand there."""
    with pytest.raises(Misuse, match=said):
        parse(line)


def test_a_changed_policy_is_another_policy():
    """Rounds and threshold are in its text, so the hash and a trace tell; what it cannot be is refused."""
    named = PolicyChoice("evidence", stop=0.8, rounds=1).find()
    assert (named.name, named.policy.rounds.max) == ("evidence+rounds=1+stop=0.8", 1)
    assert [rule.confident for rule in named.policy.stop] == [0.8]
    assert named.hash != PolicyChoice("evidence").find().hash == find_policy("evidence").hash
    with pytest.raises(BadPolicy, match=r"rounds\.max must be 1|rounds\.max = 1"):
        PolicyChoice("direct", rounds=3).find()


def exchange(session: Session, question: str, *generations: str) -> Exchange:
    script = Script(list(generations), scored(0.9, 0.1))
    result = script.play(episode(session.problem(question), plan(min="min = 1"), start=session.memory))
    return Exchange(question, result, session.view)


def test_every_step_can_be_taken_back():
    """Undo gives the session before the last step, down to its start."""
    start = Session((image(),), ("a.png",), (0,))
    told = start.told("it is red")
    asked = told.answered(exchange(told, "Is it red?", verdict("yes")))
    assert asked.undone() == told
    assert asked.undone().undone() == start
    assert "Q: Is it red? A: yes" in asked.problem("And round?").context
    with pytest.raises(Misuse, match="nothing to take back"):
        start.undone()


def test_what_is_known_of_an_image_goes_with_it():
    """Another view starts from what others know about its images, numbered anew; the old view keeps its own."""
    first = Session((image("a"), image("b")), ("a", "b"), (0,)).told("a is red").told("a is round").vetoed(1)
    second = first.viewing((1,))
    assert len(second.memory) == 0
    both = second.told("b is blue").viewing((0, 1))
    assert [(e.number, e.answer, e.image) for e in both.memory.evidence] == [(1, "a is round", 0), (2, "b is blue", 1)]
    assert both.viewing((0,)).memory == first.memory


def test_a_stopped_question_keeps_what_came_in():
    """A call that was cut off teaches nothing and ends nothing in error; what was learned stays."""
    session = Session((image(),), ("a",), (0,)).told("it is red")
    running = episode(session.problem("Is it red?"), plan(), start=session.memory)
    turn = next(running)
    cut = [Reply(error=STOPPED) for _ in turn.calls[1:]]
    running.send(Returned((Script([]).reply(turn.calls[0]), *cut), notes=(Stopped(),)))  # only tells its events
    with pytest.raises(StopIteration) as end:
        running.send(Returned(()))
    result = end.value.value
    assert (result.stop_reason, result.error) == ("stopped by a person", None)
    assert [e.kind for e in result.memory.evidence] == ["told", "caption"]


def test_bars_without_unicode_and_in_words():
    """A probability is a bar where one can be drawn, ASCII where not, words for a screen reader."""
    assert Style().bar(0.5) == "██████       0.50"
    assert Style(unicode=False).bar(0.5) == "[######......] 0.50"
    assert Style(spoken=True).bar(0.5) == "probability 0.50"
    (line, _) = belief_lines([Candidate("yes", 0.9), Candidate("no", 0.1)], Style(spoken=True), [Candidate("yes", 0.6)])
    assert line.text.endswith("probability 0.90  up 0.30")


def test_no_text_from_a_model_moves_the_cursor():
    """Escape sequences in answers, questions and candidates come out as blanks."""
    from iterreason.calls import EvidenceFound

    found = Evidence(1, "answer", "\x1b[2Jhow?\x07", "\x1b]0;owned\x07", 0.5, "m", 1)
    texts = [line.text for line in happened(EvidenceFound(found), Style(), None)]
    texts += [line.text for line in belief_lines([Candidate("\x1b[31mred", 0.5)], Style())]
    assert not [text for text in texts if not text.isprintable()]


def test_a_piped_question_is_answered(folder):
    """`echo question | iterreason chat IMAGE` prints the rounds and the answer, and no escape."""
    said = piped(folder, "Are there red circles?\n", "scene.png")
    assert "  ? how many red circles?\n  [3] how many red circles? → 2   ██████████▊  0.90\n" in said
    assert "      yes  ███████████▍ 0.94  ▲ 0.24\nbelief, by round" in said
    assert "  outside these    0.30   0.06\nanswer: yes  confidence 0.94 (combined)\nstopped: confident" in said


def test_a_follow_up_asks_only_what_is_new(folder):
    """Caption and sub-questions that are known are not looked at again; the earlier question is in the context."""
    piped(folder, "Are there red circles?\nand is it big?\n", "scene.png")
    first, second = read_traces(sessions(folder)[0])
    looks = [key for turn in second.turns for key in turn.keys]
    assert second.problem.context == "Asked before. Q: Are there red circles? A: yes"
    assert second.start == first.replay().memory
    assert len(looks) == 3  # the question itself, and two generations
    assert second.replay().usage.looks == 1


def test_a_person_steers(folder):
    """Asking, telling, looking and vetoing change the memory; a veto revises the verdict."""
    typed = "Are there red circles?\n/veto 3\n/tell it rains\n/ask is it big?\n/look top left\n/memory\n/why\n"
    typed += "/belief\n/cost\n"
    said = piped(folder, typed, "scene.png")
    assert "[3] is withdrawn\nthinking …" in said
    assert "[4] how many red circles? → a person withdrew the answer, [3]; ask something else" in said
    assert "answer: yes  confidence 0.70" in said
    assert "  [5] person says: it rains" in said
    assert "  [6] is it big? → yes" in said
    assert "region 0.00,0.00 to 0.50,0.50: caption: two red circles" in said
    assert "0.90  (withdrawn)" in said
    assert "4 questions, cost: 4 generations, 5 looks" in said
    for trace in read_traces(sessions(folder)[0]):
        assert trace.replay().error is None


def test_the_session_file_replays(folder):
    """`iterreason replay` shows every question of a session without a model."""
    piped(folder, "Are there red circles?\n/look left half\n/rounds 1\nand is it big?\n", "scene.png")
    (folder / "script.jsonl").unlink()
    done = subprocess.run(
        [COMMAND, "replay", "--json", sessions(folder)[0]], capture_output=True, text=True, check=True
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["answer"] for r in results] == ["yes", None, "yes"]
    assert results[2]["policy"]["name"] == "evidence+rounds=1"


def test_a_session_goes_on(folder):
    """--resume knows images, memory, settings and models; the file only grows."""
    piped(folder, "Are there red circles?\n/tell it rains\n/rounds 2\n/veto 4\n/undo\n/undo\n", "scene.png")
    (file,) = sessions(folder)
    before = file.read_bytes()
    said = piped(folder, "/memory\nand is it big?\n", "--resume")
    assert "[4] person says: it rains" in said
    assert "withdrawn" not in said
    assert file.read_bytes().startswith(before)
    assert list(read_traces(file))[-1].plan.named.name == "evidence+rounds=2"


def test_a_killed_question_is_taken_up(folder):
    """What a kill left of a question is played back, and the rest made live."""
    piped(folder, "Are there red circles?\n", "scene.png")
    (file,) = sessions(folder)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-3]) + b'{"calls": [')
    said = piped(folder, "", "--resume")
    assert "going on with: Are there red circles?" in said
    assert "answer: yes  confidence 0.94" in said
    (trace,) = read_traces(file)
    assert trace.finished


def test_save_load_and_export(folder):
    """A saved session is a trace that can be loaded; nothing is written over."""
    typed = "Are there red circles?\n/save s.jsonl\n/save s.jsonl\n/export json\n"
    typed += "/export html page.html\n/export html page.html\n"
    said = piped(folder, typed, "scene.png", code=2)
    assert "s.jsonl exists; a session is never written over" in said
    assert "page.html exists" in said
    (exported,) = folder.glob("*.json")
    assert json.loads(exported.read_text())["questions"][0]["answer"] == "yes"
    assert "answer: yes" in (folder / "page.html").read_text()
    before = (folder / "s.jsonl").read_bytes()
    said = piped(folder, "/load s.jsonl\n/memory\n/again\n", "other.png")
    assert "1 questions, 3 pieces of evidence" in said
    assert "[3] how many red circles? → 2" in said
    assert (folder / "s.jsonl").read_bytes() == before


def test_images_can_be_switched(folder):
    """Another image has a memory of its own; the first one's is there again when it is switched to."""
    typed = "Are there red circles?\n/image other.png\n/memory\n/image 1\n/memory\n/image 9\n/image gone.png\n"
    said = piped(folder, typed, "scene.png", code=2)
    assert "image 2: other.png 64×48\nnothing is known yet\nimage 1: scene.png 64×48\n  [1] caption" in said
    assert "there is no image 9" in said
    assert "gone.png" in said


def test_the_person_is_asked_where_the_policy_abstains(folder):
    """With --ask-me the best next question goes to the person, whose answer is evidence for another try."""
    unsure = [line | {"probability": 0.3} if line.get("text") == "yes" else line for line in SCRIPT[:1] + SCRIPT[3:4]]
    unsure += [
        {"contains": "Told by person", "text": verdict("no", cites=[3]), "repeat": True},
        {"purpose": "generation", "text": verdict("yes", cites=[1], missing="the count"), "repeat": True},
    ]
    write_script(folder / "script.jsonl", *unsure)
    said = piped(folder, "/rounds 1\nAre there red circles?\nthere are none\n", "scene.png", "--ask-me")
    assert "what do you say? the count  (Enter skips)" in said
    assert "answer: no  confidence 1.00" in said


def test_a_failing_model_is_told_and_the_session_goes_on(folder):
    """An error is shown in its place, later lines are done, and a pipe's exit code is 1."""
    failing = [line for line in SCRIPT if "Round 1" not in str(line.get("contains"))]
    failing.append({"contains": "Round 1", "error": "connection refused"})
    write_script(folder / "script.jsonl", *failing, SCRIPT[4])
    said = piped(folder, "Are there red circles?\n/memory\nand now?\n", "scene.png", code=1)
    assert "error: the reasoner failed: connection refused" in said
    assert said.count("answer: yes") == 1


def test_misuse_at_the_start_is_told(folder):
    """No image, an unknown policy and nothing to resume each end with 2 and leave no file."""
    piped(folder, "", code=2)
    piped(folder, "", "scene.png", "--policy=evidenz", code=2)
    piped(folder, "", "--resume", code=2)
    piped(folder, "", "scene.png")
    assert sessions(folder) == []


def test_an_image_that_changed_is_not_mistaken(folder):
    """A session is not resumed on other pixels than it was about."""
    piped(folder, "Are there red circles?\n", "scene.png")
    Pixels.new("RGB", (64, 48), (1, 2, 3)).save(folder / "scene.png")
    piped(folder, "", "--resume", code=2)


def test_the_direct_policy_needs_no_reasoner(folder):
    """Switching the policy opens what the new one needs."""
    said = piped(folder, "/policy direct\nIs it red?\n/policy nope\n", "scene.png", code=2)
    assert "policy direct\n" in said
    assert "answer: yes  confidence 0.70 (answer-probability)" in said
    assert "unknown policy 'nope'" in said


def test_why_shows_what_each_piece_of_evidence_weighed(folder):
    """With --attribution a question's evidence is weighed at its end, and /why shows it again; both from the file."""
    said = piped(folder, "Are there red circles?\n/why\n", "scene.png", "--attribution")
    assert said.count("[3] without it the answer stays yes\n") == 2
    assert said.count("weighed by conclusion: 3 calls beside the episode's own") == 2
    resumed = piped(folder, "/why\n", "--resume")
    assert "weighed by conclusion: 3 calls beside the episode's own" in resumed


def test_a_setting_without_its_package_names_the_extra(monkeypatch):
    """Lines through a pipe need no terminal package, but changing a policy does; what is missing is told."""
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(MissingExtra, match=r"pip install 'iterreason\[terminal\]'"):
        PolicyChoice("evidence", rounds=2).find()
