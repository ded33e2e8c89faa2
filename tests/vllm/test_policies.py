"""Whole policies over a real vLLM: SmolLM2 reasons, a LLaVA with random weights answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Opened
from tiny import picture

from iterreason import Reasoner
from iterreason.records import Problem
from iterreason.trace import read_traces


@pytest.mark.parametrize("policy", ["evidence", "idealgpt"])
def test_a_policy_runs_to_its_end(opened: Callable[[str, str], Opened], kind: str, policy: str, tmp_path: Path) -> None:
    """Every round's reply can be read, the answer is a choice or none, and the trace gives the same result again."""
    reasoner, answerer = opened(kind, "smollm2"), opened(kind, "llava")
    problem = Problem((picture("red"),), "Is the square red?", ("yes", "no"))
    trace = tmp_path / "trace.jsonl"

    # A server's connections belong to an event loop; an engine in this process takes calls from any.
    models = (reasoner.uri, answerer.uri) if kind == "served" else (reasoner.model, answerer.model)
    with Reasoner(*models, policy=policy, seed=0) as engine:
        result = engine.solve(problem, trace=trace)
    assert result.error is None
    assert result.answer in ("yes", "no", None)
    assert result.rounds
    assert result.memory.evidence
    assert all(evidence.kind != "error" for evidence in result.memory.evidence)
    assert result.confidence_source == "choice-logprob"
    if policy == "evidence":
        assert result.usage.cached_tokens > 0.3 * result.usage.prompt_tokens, "prompts only grow"
    [recorded] = read_traces(trace)
    assert recorded.replay().to_json() == result.to_json()
