"""Stop rules and estimators of other packages: installed for real, named by a policy, run through an episode."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from written import ABLE, Script, problem, said, verdict

from iterreason.errors import BadPolicy, BadTrace
from iterreason.loop import episode
from iterreason.memory import EMPTY
from iterreason.plan import resolve
from iterreason.policy import find_policy, read_policy
from iterreason.trace import EpisodeRecorder, read_trace

DOCS = Path(__file__).parent.parent / "docs" / "policies.md"
MINE = (
    find_policy("evidence")
    .text.replace('["choice-logprob", "combined", "vote"]', '["shortest", "vote"]')
    .replace("[[stop]]\ndry = true", '[[stop]]\nrule = "settled"')
)


def install(folder: Path, code: str, version: str = "1.0") -> None:
    """Put a distribution into a folder, as an installer lays it out."""
    (folder / "few_words.py").write_text(code, encoding="utf-8")
    info = folder / f"few_words-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: few-words\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[iterreason.stop_rules]\nsettled = few_words:settled\n"
        "[iterreason.estimators]\nshortest = few_words:shortest\n",
        encoding="utf-8",
    )


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs the worked example of docs/policies.md, or other code."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(code: str | None = None, version: str = "1.0") -> None:
        sys.modules.pop("few_words", None)
        for old in tmp_path.glob("*.dist-info"):
            old.rename(tmp_path / f"{old.name}.removed")
        documented = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        assert documented
        install(tmp_path, code or documented[1], version)

    yield put
    sys.modules.pop("few_words", None)


def played():
    named = read_policy(MINE, "mine")
    replies = [verdict("yes", "is it red?", missing="the colour"), verdict("yes", "is it big?", cites=(2, 3))]
    script = Script([*replies, *replies], look=lambda question: said("yes", 0.7 if "red?" in question else 0.8))
    plan = resolve(named, ABLE, [ABLE])
    return named, plan, script, script.play(episode(problem(), plan))


def test_the_documented_example_stops_an_episode_and_says_how_sure(package):
    """A policy names an installed rule and estimator like our own; the result says which of them decided."""
    package()
    _, _, _, result = played()
    assert (result.stop_reason, result.confidence_source) == ("settled: cites 2", "shortest")
    assert result.confidence == pytest.approx(0.7)


def test_hash_and_trace_say_which_version_took_part_and_replay_is_exact(package, tmp_path):
    """The trace replays to the same result with the recorded version, and is refused with another."""
    package()
    named, plan, script, result = played()
    assert named.extensions == ("settled (few-words 1.0)", "shortest (few-words 1.0)")
    recorder = EpisodeRecorder(problem(), plan, EMPTY, None)
    again = Script([verdict("yes", "is it red?", missing="the colour"), verdict("yes", "is it big?", cites=(2, 3))])
    again.look = script.look
    running, returned = episode(problem(), plan), None
    try:
        turn = next(running)
        while True:
            returned = again.returned(turn)
            recorder.turn(turn, returned)
            turn = running.send(returned)
    except StopIteration as end:
        line = recorder.line(end.value)
    import json

    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(line), encoding="utf-8")
    assert line["policy"]["extensions"] == list(named.extensions)
    assert read_trace(path).replay() == result
    package(version="1.1")
    assert read_policy(MINE, "mine").hash != named.hash
    with pytest.raises(BadTrace, match=r"few-words 1\.0.*here is .*few-words 1\.1"):
        read_trace(path)


def test_an_unknown_name_is_met_with_the_known_ones(package):
    """A name that nothing offers is refused with what is there, and with the group that packages offer it in."""
    with pytest.raises(BadPolicy, match=r"stop\.1\.rule: unknown stop rule 'settled'\. Known: none\..*stop_rules"):
        read_policy(MINE.replace('"shortest", ', ""), "mine")
    package()
    with pytest.raises(BadPolicy, match=r"unknown estimator 'shortst'; did you mean 'shortest'\?"):
        read_policy(MINE.replace("shortest", "shortst"), "mine")


@pytest.mark.parametrize(
    ("rule", "estimate", "why"),
    [
        ("1 / 0", "0.5", r"the stop rule settled \(few-words 1\.0\) failed: ZeroDivisionError"),
        ("7", "0.5", "it gave 7; it must give a reason"),
        ("None", "1.5", r"the estimator shortest .* it gave 1\.5; it must give a number from 0 to 1"),
        ("None", "float('nan')", "it gave nan"),
    ],
)
def test_one_that_fails_ends_the_episode_with_an_error_that_names_it(package, rule, estimate, why):
    """Another package's fault is this episode's error, never a traceback and never a made-up number."""
    package(
        f"def settled(verdicts, memory):\n    return {rule}\ndef shortest(verdict, memory):\n    return {estimate}\n"
    )
    _, _, _, result = played()
    assert result.answer is None
    assert re.search(why, result.error or "")


def test_one_that_cannot_be_loaded_is_refused_before_any_call(package):
    """An entry point that leads nowhere is an error when the policy is fitted to the models."""
    package("nothing = 1\n")
    with pytest.raises(BadPolicy, match=r"settled \(few-words 1\.0\) cannot be loaded: AttributeError"):
        resolve(read_policy(MINE, "mine"), ABLE, [ABLE])
