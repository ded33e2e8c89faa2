"""What-ifs of a recorded run: exact at the recorded setting, and refused where nothing is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from report_runs import Texts, write_run, write_task

pytest.importorskip("scipy", reason="needs the extra 'bench': pip install 'iterreason[bench]'")

from iterreason.bench import stats
from iterreason.bench.recorded import one_run
from iterreason.bench.what_if.grid import spent_by_round, what_if
from iterreason.bench.what_if.settings import settings
from iterreason.cli import main
from iterreason.errors import Failure, NotRecorded
from iterreason.policy import find_policy


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same problems recorded to the last round, and as the policy's own rules stop them."""
    base = tmp_path_factory.mktemp("what-if")
    task = write_task(base / "data", 30, Texts())
    write_run(base / "all", task, "evidence", all_rounds=True)
    write_run(base / "own", task, "evidence")
    return base


@pytest.mark.parametrize("name", ["all", "own"])
def test_the_recorded_setting_is_the_run_to_the_bit(base: Path, name: str):
    """Answers, stop reasons, confidence, rounds and usage are those of the recorded rows, all of them."""
    run = one_run(base / name)
    found = what_if(run, settings(run, None, [], None, []))
    assert found.outcomes[0].rows == run.rows


def test_the_policys_own_rules_over_all_rounds_are_the_run_that_stopped(base: Path):
    """What the record of all rounds says of the policy's rules is what a run under them did."""
    run, stopped = one_run(base / "all"), one_run(base / "own")
    found = what_if(run, settings(run, None, [], None, []))
    own = found.outcomes[1]
    assert own.setting.name == "rules of evidence"
    assert [replace(row, all_rounds=False) for row in own.rows] == list(stopped.rows)
    assert own.accuracy == stats.accuracy(stopped.rows)
    assert own.cost == stats.cost(stopped.rows)
    assert own.cost.mean.calls < found.outcomes[0].cost.mean.calls


def test_a_grid_is_every_combination(base: Path):
    """Lists and repeats of rules, rounds and budgets multiply, each with its name."""
    run = one_run(base / "all")
    names = [
        setting.name
        for setting in settings(
            run, None, ["confident=0.7,0.9+stable=2|dry", "none"], "2,3", ["calls=9", "tokens=900+seconds=2.5"]
        )
    ]
    assert len(names) == 1 + 3 * 2 * 2
    assert names[1] == "confident=0.7+stable=2 | dry, 2 rounds, calls=9"
    assert names[-1] == "no rule, 3 rounds, tokens=900+seconds=2.5"


def test_settings_do_what_they_say(base: Path):
    """Fewer rounds, and a budget, end episodes where they must, at the cost that a replay has."""
    run = one_run(base / "all")
    wanted = settings(run, None, ["none"], "2,3", []) + settings(run, None, ["none"], None, ["calls=6"])[1:]
    recorded, two, three, cheap = what_if(run, wanted).outcomes
    whole = [row for row in two.rows if row.error is None]
    assert {len(row.rounds) for row in whole} == {2}
    assert {row.stop_reason for row in whole} == {"round: 2 made"}
    assert recorded.cost.mean.tokens > three.cost.mean.tokens > two.cost.mean.tokens
    assert max(row.usage.calls for row in cheap.rows) <= 6
    assert dict(cheap.stops)["budget: calls"] > 0


def test_the_cost_at_a_rounds_end_is_that_of_stopping_there(base: Path):
    """The anytime curve's costs are what a rule that stops after so many rounds would have paid."""
    run = one_run(base / "all")
    for number in (2, 3):
        found = what_if(run, settings(run, None, ["none"], str(number), [])).outcomes[1]
        for row in found.rows:
            if row.error is None:
                spent = spent_by_round(run.traces[row.key])[number - 1]
                assert (spent.calls, spent.tokens) == (row.usage.calls, row.usage.tokens)
                assert spent.seconds == pytest.approx(row.usage.elapsed_seconds)
    curve = what_if(run, settings(run, None, [], None, [])).by_round
    assert [point.round for point in curve] == [1, 2, 3, 4]
    assert curve[-1].tokens == pytest.approx(stats.cost(run.rows).mean.tokens)


def test_a_rule_that_stops_later_than_the_record_is_refused_by_name(base: Path, capsys: pytest.CaptureFixture[str]):
    """With the problem and the first call that is missing, and what run to record."""
    run = one_run(base / "own")
    with pytest.raises(NotRecorded) as refused:
        what_if(run, settings(run, None, ["none"], None, []))
    said = str(refused.value)
    assert said.startswith("'no rule' asks for more than was recorded: problem 'p")
    assert "the trace holds no reply for this" in said
    assert "eval … --all-rounds" in said
    assert main(["what-if", str(base / "own"), "--stop", "confident=1"]) == 1
    assert "'confident=1' asks for more" in capsys.readouterr().err
    assert main(["what-if", str(base / "own"), "--rounds", "2"]) == 0


def test_a_record_that_does_not_replay_is_refused(base: Path, tmp_path: Path):
    """Where the run itself is not reproduced, no other figure is given."""
    run = one_run(base / "all")
    spoiled = replace(run, run=replace(run.run, rows=(replace(run.rows[0], confidence=0.123), *run.rows[1:])))
    with pytest.raises(Failure, match="'p0' does not replay as it was recorded"):
        what_if(spoiled, settings(run, None, [], None, []))


def test_tables_json_and_plots(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """All figures are printed, are in the JSON, and are drawn as PNG and SVG; the same run draws the same bytes."""
    at = str(base / "all")
    options = ["what-if", at, "--stop", "confident=0.7,0.9|dry", "--rounds", "2,4"]
    assert main([*options, "--plots", str(tmp_path / "one")]) == 0
    shown = capsys.readouterr()
    for word in ("AURC", "ECE", "Brier", "helped", "hurt", "tokens", "seconds", "recorded: all rounds"):
        assert word in shown.out
    names = {"anytime-rounds", "anytime-tokens", "anytime-seconds", "risk-coverage", "reliability", "helped-hurt"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        f"{n}.{end}" for n in names for end in ("png", "svg")
    }
    assert shown.err.count("wrote ") == 12
    assert main([*options, "--json", "--plots", str(tmp_path / "two")]) == 0
    made = json.loads(capsys.readouterr().out)
    assert len(made["settings"]) == 1 + 2 * 2
    first = made["settings"][0]
    assert first["aurc"] == stats.aurc(one_run(base / "all").rows)
    assert first["usage"]["total"]["looks"] > 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stop", "confidant=0.9"], "did you mean 'confident'?"),
        (["--stop", "confident=1.5"], "less than or equal to 1"),
        (["--stop", "confident=x"], "'x' is no number"),
        (["--stop", "stable=2.5"], "'2.5' is no whole number"),
        (["--stop", "dry=1"], "'dry' takes no value"),
        (["--stop", "stable=9"], "it is more than rounds.max = 4"),
        (["--stop", ""], "unknown condition ''"),
        (["--rounds", "1"], "may stop after 2 rounds at the earliest"),
        (["--rounds", "two"], "'two' is no whole number"),
        (["--budget", "calls=0"], "greater than or equal to 1"),
        (["--budget", "money=1"], "unknown condition 'money'"),
        (["--stop", "confident=" + ",".join(["0.5"] * 600)], "600 settings are too many"),
        (["--policy", "nothing"], "unknown policy 'nothing'"),
    ],
)
def test_misuse_is_named(base: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str):
    """A rule that says nothing known, is out of bounds or never holds is refused with exit code 2."""
    assert main(["what-if", str(base / "all"), *options]) == 2
    assert said in capsys.readouterr().err


def test_another_policys_rules_are_tried(base: Path, tmp_path: Path):
    """`--policy` tries a policy file with other thresholds over the same record."""
    mine = tmp_path / "mine.toml"
    mine.write_text(find_policy("evidence").text.replace("abstain_below = 0.5", "abstain_below = 0.95"))
    run = one_run(base / "all")
    strict = what_if(run, settings(run, find_policy(str(mine)), [], None, [])).outcomes[1]
    own = what_if(run, settings(run, None, [], None, [])).outcomes[1]
    assert strict.setting.name == "rules of mine"
    assert strict.accuracy.coverage < own.accuracy.coverage
