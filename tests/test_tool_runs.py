"""Benchmark runs whose policies use tools: runs, exports, reports and instruction data know what a tool's calls are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bench_case import write_models, write_task
from inspect_ai.log import read_eval_log

from iterreason.bench.export import export_run
from iterreason.bench.report.episodes import episode_view
from iterreason.bench.row import TRACES, find_run
from iterreason.cli import main
from iterreason.policy import find_policy
from iterreason.tools import missing
from iterreason.trace import read_traces
from iterreason.tuning.instruct_sources import Wanted, from_recorded

pytestmark = pytest.mark.skipif(bool(missing("ocr")) and "CI" not in os.environ, reason="needs the extra `tools`")
PLAN = {"steps": [{"tool": "ocr", "region": "whole"}, {"tool": "vqa", "question": "is it red?", "region": "#1"}]}
DECISION = {"rationale": "seen", "cites": [1], "answer": "red"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a planning policy that names `ocr`, over two problems without any text in their images."""
    folder = tmp_path_factory.mktemp("run")
    text = find_policy("single-round").text.replace('use = ["vqa", "caption", "crop"]', 'use = ["vqa", "ocr"]')
    (folder / "planning.toml").write_text(text)
    task = write_task(folder / "task", 2)
    reasoner, answerer = write_models(folder)
    lines = [
        {"purpose": "generation", "contains": "Write the plan", "text": json.dumps(PLAN), "repeat": True},
        {"purpose": "generation", "text": json.dumps(DECISION), "repeat": True},
        {"purpose": "readout", "probabilities": [0.7, 0.2, 0.1], "repeat": True},
    ]
    (folder / "reasoner.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    models = ["--reasoner", reasoner, "--answerer", answerer]
    options = ["--policy", str(folder / "planning.toml"), "--no-baselines", "--out", str(folder / "out")]
    assert main(["eval", str(task), *options, *models, "--limit", "1"]) == 0
    assert main(["eval", str(task), *options, *models]) == 0  # it goes on: the row that is there is this run's own
    return folder / "out/squares/planning"


def test_a_run_opens_the_tools_of_its_policy(folder):
    """The rows are there with the tool's model, and each episode's trace has its calls and replays without it."""
    run = find_run(folder)
    rows = run.rows
    assert run.manifest["models"]["tools"] == [rows[0].models[-1]]
    assert [(row.id, row.error) for row in sorted(rows, key=lambda row: row.id)] == [("p0", None), ("p1", None)]
    for trace in read_traces(folder / TRACES):
        result = trace.replay()
        assert [(e.kind, e.question, e.answer) for e in result.memory.evidence] == [
            ("found", "ocr(whole)", ""),
            ("error", "step 2, vqa:", "step 1 found nothing to look at"),
        ]
        assert any(model.startswith("rapidocr") for model in result.models)


def test_a_report_puts_plan_and_decision_in_one_round(folder):
    """A planning policy has two generations in its one round."""
    for line in (folder / TRACES).read_text().splitlines():
        calls = episode_view(json.loads(line))["calls"]
        assert [(call["slot"], call["round"]) for call in calls] == [
            ("reasoner", 1),
            ("tool:ocr", 1),
            ("reasoner", 1),
            ("reasoner", 1),
        ]


def test_inspect_sees_a_tool_call(folder, tmp_path):
    """In Inspect's log the call stands under the tool's own name, with its model."""
    (path,) = export_run(folder, tmp_path / "out.eval")
    for sample in read_eval_log(str(path), resolve_attachments=True).samples:
        (event,) = [event for event in sample.events if event.event == "tool"]
        assert (event.function, event.result) == ("ocr", "[]")
        assert event.metadata["model"].startswith("rapidocr")


def test_instruction_data_hold_no_tool_calls(folder):
    """A tool is told nothing in words, so nothing can be learned from how it was called."""
    triples = from_recorded(folder / TRACES, Wanted(looks=True)).triples
    assert len(triples) == 2 * 3
    assert all(len(triple.messages) > 1 for triple in triples)
