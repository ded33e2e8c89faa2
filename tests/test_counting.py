"""Answerers are counted on a labelled run, and what was counted is used by the next."""

import json
from pathlib import Path

import pytest
from task_files import TASK, data_of, picture

from iterreason.bench.counting import count_answerers
from iterreason.bench.row import find_run
from iterreason.cli import main
from iterreason.reliability import Count, read_reliability

SCRIPT = """\
{"capabilities": {"looks": true, "logprobs": true, "scores": true}}
{"purpose": "look", "text": "yes", "probability": 0.55, "repeat": true}
"""
REASONER = '{"purpose": "readout", "probabilities": [0.9, 0.05], "repeat": true}\n' + json.dumps(
    {
        "purpose": "generation",
        "text": json.dumps({"rationale": "so", "cites": [], "answer": "yes", "missing": "", "questions": []}),
        "repeat": True,
    }
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A task of three problems, and scripts that answer it."""
    questions = (("Is it red?", "yes"), ("Is it blue?", "no"), ("How many?", "yes"))
    rows = [
        {"id": str(n), "image": f"{n}.png", "question": question, "answer": answer}
        for n, (question, answer) in enumerate(questions)
    ]
    data_of(tmp_path, rows)
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.png", colour=(number, 0, 0))
    (tmp_path / "pictures.toml").write_text(TASK)
    for name, text in (("first", "yes"), ("second", "no")):
        (tmp_path / f"{name}.jsonl").write_text(SCRIPT.replace('"yes"', f'"{text}"'))
    (tmp_path / "reasoner.jsonl").write_text(REASONER)
    return tmp_path


def evaluate(base: Path, *more: str) -> int:
    names = [f"scripted:{base / name}.jsonl" for name in ("reasoner", "first", "second")]
    reasoner, first, second = names
    task = base / "pictures.toml"
    return main(["eval", str(task), "--out", str(base / "runs"), "--no-baselines", "--policy", "direct",
                 "--reasoner", reasoner, "--answerer", first, "--answerer", second, "--json", *more])  # fmt: skip


def test_a_run_says_how_often_each_answerer_was_right(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`calibrate RUN --answerers` counts by kind of question, and `--reliability` takes what it wrote."""
    assert evaluate(base) == 0
    [folder] = [path.parent for path in (base / "runs").rglob("manifest.json")]
    run = find_run(folder)
    first, second = run.rows[0].models
    expected = [
        Count(first, "count", 1, 1), Count(first, "yes-no", 1, 2),
        Count(second, "count", 0, 1), Count(second, "yes-no", 1, 2),
    ]  # fmt: skip
    assert sorted(count_answerers(run), key=lambda c: (c.model, c.kind)) == sorted(
        expected, key=lambda c: (c.model, c.kind)
    )
    capsys.readouterr()
    assert main(["calibrate", str(folder), "--answerers"]) == 0
    shown = capsys.readouterr()
    assert f"{first}  yes-no   1/2" in shown.out
    written = folder / "answerers.toml"
    assert shown.err == f"wrote {written}\n"
    assert sorted(read_reliability(written).counts, key=str) == sorted(expected, key=str)

    # Another weight makes another run: the first is set aside, never mixed with it.
    assert evaluate(base, "--reliability", str(written)) == 0
    assert "the answerers' reliability changed since the run" in capsys.readouterr().err
    again = json.loads((folder / "manifest.json").read_text())["reliability"]
    assert {count["model"] for count in again} == {first, second}


def test_misuse_of_calibrate_is_told(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to learn, no run, counts of other models: exit code 2 and the next step."""
    assert main(["calibrate", str(base)]) == 2
    assert "iterreason calibrate RUN --answerers" in capsys.readouterr().err
    assert main(["calibrate", str(base), "--answerers"]) == 2
    assert "holds no run" in capsys.readouterr().err
    (base / "others.toml").write_text('[[answerer]]\nmodel = "others"\nkind = "count"\nright = 1\nasked = 2\n')
    assert evaluate(base, "--reliability", str(base / "others.toml")) == 2
    assert "is counted of others; none of these answers here: " in capsys.readouterr().err
