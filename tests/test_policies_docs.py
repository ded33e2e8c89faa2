"""The page about policies, and the file to start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from iterreason.cli import main
from iterreason.policy import find_policy, shipped

PAGE = (Path(__file__).parent.parent / "docs" / "policies.md").read_text(encoding="utf-8")


def row(name: str) -> list[str]:
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def stops(name: str) -> str:
    rules = [
        " + ".join(key if value is True else f"{key} {value}" for key, value in rule.items() if value is not None)
        for rule in (
            {key: getattr(stop, key) for key in ("confident", "stable", "dry", "answered")}
            for stop in find_policy(name).policy.stop
        )
    ]
    return "; ".join(rules) or "–"


@pytest.mark.parametrize("name", shipped())
def test_the_table_says_what_the_shipped_files_say(name):
    """Looks before, looks a round, rounds, stop rules, abstention and layout of each policy are those of its file."""
    policy = find_policy(name).policy
    _, before, calls, rounds, stop, below, layout, source = row(name)
    assert before == (", ".join(policy.look.first) or "–")
    low, high = policy.rounds.min, policy.rounds.max
    assert rounds == (str(high) if low == 1 else f"{low}–{high}")
    assert stop == stops(name)
    assert below == (str(policy.abstain_below) if policy.abstain_below else "–")
    assert layout == policy.layout
    assert source == "own" or source.rpartition(" ")[2] in policy.source
    looks = policy.plan.steps or (policy.rounds.questions if policy.asks else 0)
    assert (f"{looks} look" in calls) if looks else ("look" not in calls)


def test_a_new_policy_is_in_order_as_it_is_written(tmp_path, monkeypatch, capsys):
    """`policies new NAME` writes a commented file that loads; it is never written over, and a bad name is misuse."""
    monkeypatch.chdir(tmp_path)
    assert main(["policies", "new", "mine"]) == 0
    assert "--policy mine.toml" in capsys.readouterr().out
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert text.count("#") > 10
    assert find_policy("mine.toml").policy.rounds.max == 4
    (tmp_path / "mine.toml").write_text(text + "# changed", encoding="utf-8")
    assert main(["policies", "new", "mine"]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8").endswith("# changed")
    for bad in (["new"], ["new", "../mine"], ["direct", "blind"]):
        assert main(["policies", *bad]) == 2


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("max = 4 ", "max = 1 ", "stop.stable = 2 never holds: it is more than rounds.max = 1"),
        ("max = 4 ", "max = 1 ", "stop.dry would stop at once: with rounds.max = 1"),
        ("min = 1 ", "min = 9 ", "rounds.min = 9 is more than rounds.max = 4; lower rounds.min"),
        (
            "abstain_below = 0.5",
            "abstain_below = 1.5",
            "abstain_below: Input should be less than or equal to 1, not 1.5",
        ),
        (
            "confident = 0.9",
            "confident = -0.1",
            "stop.0.confident: Input should be greater than or equal to 0, not -0.1",
        ),
        ("confident = 0.9", "confident = 0", "stop.confident = 0 would stop at once; write a threshold above 0"),
        ('"combined", "vote"', '"vote", "vote"', "confidence names 'vote' twice; once is enough"),
    ],
)
def test_a_bad_policy_file_is_refused_with_file_key_value_and_remedy(tmp_path, monkeypatch, capsys, old, new, why):
    """Conflicting rules and thresholds outside [0, 1] end with exit code 2 and a sentence for each fault."""
    monkeypatch.chdir(tmp_path)
    main(["policies", "new", "mine"])
    path = tmp_path / "mine.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    code = main(["policies", "mine.toml"])
    said = capsys.readouterr().err
    assert code == 2
    assert "mine.toml cannot be used:" in said
    assert why in said


def test_two_rules_of_which_one_never_decides_are_refused(tmp_path):
    """A rule that holds only where an earlier one does is named, with the earlier one."""
    from iterreason.errors import BadPolicy
    from iterreason.policy import read_policy

    text = find_policy("evidence").text
    with pytest.raises(BadPolicy, match=r"\[\[stop\]\] rule 3 is the same as rule 2, so it never decides"):
        read_policy(text.replace("[[stop]]\ndry = true", "[[stop]]\ndry = true\n[[stop]]\ndry = true"), "mine")
    changed = "[[stop]]\nconfident = 0.95\nstable = 3"
    with pytest.raises(BadPolicy, match=r"rule 2 can hold only where also rule 1 does, so it never decides"):
        read_policy(text.replace("[[stop]]\ndry = true", changed), "mine")
