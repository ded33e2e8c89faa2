"""A rule is calibrated on a recorded run and used by name; what it was not tested with is refused."""

from __future__ import annotations

import json
import random
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from report_runs import Texts, _script, write_run, write_task
from written import ABLE, plan, policy

pytest.importorskip("scipy", reason="needs the extra 'bench': pip install 'iterreason[bench]'")

from iterreason.bench.calibrating import Promise, calibrate
from iterreason.bench.episode_paths import drawn, sample
from iterreason.bench.promise import main as promise
from iterreason.bench.recorded import one_run
from iterreason.calibration.file import read_calibration
from iterreason.calibration.paths import answers
from iterreason.cli import main
from iterreason.errors import BadConfig, BadPolicy
from iterreason.loop import episode
from iterreason.plan import resolve
from iterreason.policy import NamedPolicy, find_policy
from iterreason.trace import read_traces

COUNT = 160


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run recorded to its last round; tests must not write in it."""
    base = tmp_path_factory.mktemp("calibrate")
    write_run(base / "runs", write_task(base / "data", COUNT, Texts()), "evidence", all_rounds=True)
    return base / "runs" / "table" / "evidence"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """The same run, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="module")
def rule(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration file of that run."""
    out = tmp_path_factory.mktemp("rule") / "run.toml"
    assert main(["calibrate", str(made), "--risk", "0.2", "--probability", "isotonic", "--out", str(out)]) == 0
    return out


def base_of(rule: Path) -> Path:
    """The policy that the run was recorded under, as a file."""
    path = rule.with_name("evidence.toml")
    path.write_text(policy("evidence").text)
    return path


def calibrated(rule: Path) -> NamedPolicy:
    return find_policy(f"{base_of(rule)}@{rule}")


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_the_file_says_where_the_rule_comes_from(made: Path, rule: Path):
    """n, split, policy, models, alpha, delta, date, version and the sequence tested stand in it, and add up."""
    file = read_calibration(rule)
    assert (file.problems, file.images, file.ordered_on + file.tested_on) == (COUNT, COUNT, COUNT)
    assert file.errors == sum(row.outcome == "error" for row in one_run(made).rows) > 0
    assert (file.task, file.split, file.policy) == ("table", "test", "evidence")
    tested = file.calibrated
    assert (tested.risk, tested.delta, tested.base) == (0.2, 0.05, policy("evidence").hash)
    assert (tested.models, tested.estimator) == (("written", "written"), "choice-logprob")
    step = next(s for s in file.sequence if (s.confident, s.round) == (tested.confident, tested.round))
    assert step.holds
    assert (step.answered, step.wrong) == (file.answered, file.wrong)
    assert file.upper <= 0.2
    assert file.date.startswith("20")
    assert file.command.startswith("iterreason calibrate")


def test_the_arrays_say_what_a_replay_says(made: Path, rule: Path):
    """For any threshold and rounds the vectorised rule answers, stops and is wrong exactly as the real loop does."""
    run = one_run(made)
    found = sample(run)
    base = calibrated(rule)
    for confident in (0.45, 0.62, 0.8, 0.9):
        for rounds in (2, 3, 4):
            tested = replace(base.policy.calibrated, confident=confident, round=rounds)
            named = NamedPolicy(base.name, base.text, replace(base.policy, calibrated=tested))
            expected = answers(found.paths, [confident], rounds)
            for place, row in enumerate(found.rows):
                real = run.row_under(row, named)
                assert (real.answer is not None) == expected.given[place, 0]
                assert (real.outcome == "wrong") == expected.wrong[place, 0]
                if real.answer is not None:
                    assert len(real.rounds) == expected.round[place, 0]


def test_a_calibrated_policy_runs_live_as_it_replays(made: Path, rule: Path):
    """`evidence@run.toml` stops and abstains live as the rule says, its text and rule in the result's policy."""
    named = calibrated(rule)
    assert named.name == "evidence@run"
    assert named.hash != policy("evidence").hash
    fitted = resolve(named, ABLE, [ABLE])
    run = one_run(made)
    answered = 0
    for row in run.rows[:40]:
        trace = run.traces[row.key]
        item = next(item for item in write_items(made) if item.id == row.id)
        script = _script(item, "evidence", random.Random(f"{row.id} 0 evidence 0"), trace.problem.choices, Texts())
        live = script.play(episode(trace.problem, fitted, seed=trace.seed))
        again = trace.replay(named)
        assert (live.answer, live.stop_reason, live.confidence) == (again.answer, again.stop_reason, again.confidence)
        if live.error is None:
            curve = named.policy.calibrated.probability
            assert live.confidence == curve.of(live.raw_confidence)
            assert live.to_json()["raw_confidence"] == live.raw_confidence
            assert (live.answer is not None) == (live.raw_confidence >= named.policy.calibrated.confident)
            answered += live.answer is not None
    assert 0 < answered < 40


def write_items(made: Path):
    from iterreason.bench.tasks.task import NamedTask, read_task

    text = json.loads((made / "manifest.json").read_text())["task"]["text"]
    return list(NamedTask("table", text, read_task(text), made.parents[2] / "data").items("test"))


def test_one_problem_of_an_image_is_drawn(made: Path):
    """Problems that share an image, be it under two groups, count once, whatever the order of the rows."""
    rows = one_run(made).rows[:12]
    shared = [replace(row, group=f"g{n // 2}", images=(f"i{n // 3}",)) for n, row in enumerate(rows)]
    picked = drawn(shared, 0)
    assert len(picked) == 2  # 0–5 hang together by images 0 and 1 and group 1; 6–11 likewise
    assert drawn(shared[::-1], 0) == picked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--risk", "1.5"], "--risk must be above 0 and below 1, not 1.5"),
        (["--risk", "0.1", "--delta", "0"], "--delta must be above 0"),
        (["--risk", "0.1", "--split", "1"], "--split must be above 0"),
        (["--risk", "0.02"], "takes at least 149 answers without a mistake, so at least 298 images"),
        (["--risk", "0.1", "--answerers"], "say what to learn, one at a time"),
        (["--answerers", "--delta", "0.1"], "--delta goes with --risk"),
        (["--risk", "0.2", "--out", "rule.txt"], "must end in .toml"),
    ],
)
def test_misuse_is_named(made: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str):
    """What is out of range, too little, or contradicts itself is refused, with exit code 2."""
    assert main(["calibrate", str(made), *options]) == 2
    assert said in told(capsys)


def test_where_no_rule_keeps_the_risk_nothing_is_written(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Exit code 1, what the safest rule showed, and what would help."""
    out = tmp_path / "none.toml"
    assert main(["calibrate", str(made), "--risk", "0.04", "--delta", "0.04", "--out", str(out)]) in (1, 2)
    assert main(["calibrate", str(made), "--risk", "0.05", "--delta", "0.02", "--out", str(out)]) == 1
    assert "no rule is shown to keep the risk at 0.05; nothing is written" in told(capsys)
    assert not out.exists()


def test_a_run_that_its_rules_stopped_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """An early stop tells nothing about later rounds; how to record another is said."""
    write_run(tmp_path / "runs", write_task(tmp_path / "data", 8, Texts()), "evidence")
    assert main(["calibrate", str(tmp_path / "runs"), "--risk", "0.1"]) == 2
    assert "iterreason eval table --policy evidence --all-rounds" in told(capsys)


def _change_line(path: Path, place: int, change) -> None:
    lines = path.read_text().splitlines()
    value = json.loads(lines[place])
    change(value)
    lines[place] = json.dumps(value)
    path.write_text("\n".join([*lines, ""]))


def test_mixed_policies_are_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    """A row or a trace of another policy text, or of other models, is named by its line."""
    _change_line(run / "results.jsonl", 3, lambda row: row.update(policy_hash="f" * 64))
    assert main(["calibrate", str(run), "--risk", "0.2"]) == 2
    assert "row 4" in (said := told(capsys))
    assert "is of policy text ffffffffffff" in said
    assert main(["what-if", str(run)]) == 2
    assert "mixed runs tell nothing of either" in told(capsys)


def test_mixed_traces_are_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    """So is a trace whose policy text is another one."""
    other = find_policy("evidence").text.replace("confident = 0.9", "confident = 0.8")
    _change_line(run / "traces.jsonl", 5, lambda line: line["policy"].update(text=other))
    assert main(["calibrate", str(run), "--risk", "0.2"]) == 2
    assert "traces.jsonl, line 6" in told(capsys)


def test_traces_of_another_version_are_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    """A trace schema that this version does not read is named with its line, beside others that it does."""
    _change_line(run / "traces.jsonl", 7, lambda line: line.update(trace=99))
    for command in (["calibrate", str(run), "--risk", "0.2"], ["what-if", str(run)]):
        assert main(command) == 2
        assert "line 8: trace version 99; this version reads 1" in told(capsys)


def test_several_runs_are_not_mixed(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A folder of two runs is refused, and both are named."""
    shutil.copytree(made, tmp_path / "a" / "one")
    shutil.copytree(made, tmp_path / "a" / "two")
    assert main(["calibrate", str(tmp_path / "a"), "--risk", "0.2"]) == 2
    assert "holds 2 runs" in told(capsys)


def test_a_rule_of_another_policy_is_refused(rule: Path, tmp_path: Path):
    """A calibration file holds for the policy's text that it was made with, to the letter."""
    with pytest.raises(BadConfig, match="that is another policy"):
        find_policy(f"idealgpt@{rule}")
    mine = tmp_path / "evidence.toml"
    mine.write_text(policy("evidence").text.replace("max = 4", "max = 3"))
    with pytest.raises(BadConfig, match="that text has changed since"):
        find_policy(f"{mine}@{rule}")
    mine.write_text(policy("evidence").text)
    assert find_policy(f"{mine}@{rule}").policy == calibrated(rule).policy


def test_a_rule_of_other_models_is_refused(rule: Path):
    """Before the first call, with both sets of models named."""
    with pytest.raises(BadPolicy, match="calibrated with the models written, written; here it is other, written"):
        resolve(calibrated(rule), replace(ABLE, model="other"), [ABLE])
    unscored = replace(ABLE, scores=False)
    with pytest.raises(BadPolicy, match="the estimator choice-logprob; here it is combined"):
        resolve(calibrated(rule), unscored, [ABLE])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("calibration = 1", "calibration = 2"), "of version 2; this iterreason reads 1"),
        (("confident = ", "confident = 7"), "calibrated.confident"),
        (("[calibrated]", "[calibrate]"), "calibrate"),
        (("calibration = 1", "other = 1"), "is no calibration file"),
    ],
)
def test_a_spoiled_file_is_refused(rule: Path, tmp_path: Path, change: tuple[str, str], said: str):
    """Each fault with its key, and how to write the file anew."""
    path = tmp_path / "spoiled.toml"
    path.write_text(rule.read_text().replace(*change))
    with pytest.raises(BadConfig, match=said):
        find_policy(f"evidence@{path}")


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As misuse, from the command line too."""
    assert main(["demo", "--policy", f"evidence@{tmp_path / 'none.toml'}"]) == 2
    assert "cannot read the calibration file" in told(capsys)


def test_policies_without_a_rule_are_as_they_were():
    """Their text, hash, stop rules and what they write of a result do not know of calibration."""
    fitted = plan()
    assert fitted.policy.calibrated is None
    assert len(fitted.rules) == 2
    assert "calibrated" not in fitted.named.text


def test_the_share_of_violations_over_splits_is_reported(made: Path, capsys: pytest.CaptureFixture[str]):
    """With no interval, and why; a run too small for its splits is refused."""
    assert promise([str(made), "--beside", str(made), "--risk", "0.3", "--delta", "0.1", "--splits", "20"]) == 0
    said = capsys.readouterr().out
    assert "evidence: 160 images, 20 splits" in said
    assert "not independent" in said
    assert "evidence answers +0.0 points more than evidence" in said
    assert promise([str(made), "--risk", "0.05"]) == 2
    assert "are needed" in told(capsys)


def test_the_same_run_gives_the_same_file(made: Path, rule: Path):
    """Choice among an image's problems, split and folds do not depend on chance."""
    again = calibrate(one_run(made), Promise(risk=0.2, delta=0.05, probability="isotonic"))
    assert again.calibrated == read_calibration(rule).calibrated
    assert tomllib.loads(rule.read_text())["calibrated"]["risk"] == 0.2
    assert len(list(read_traces(made / "traces.jsonl"))) == COUNT
