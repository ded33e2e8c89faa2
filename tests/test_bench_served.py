"""The served benchmark: replies of fixed length, blocks that are kept, and figures that say what was missed."""

from __future__ import annotations

import asyncio
import json

import pytest
from fake_server import FakeServer
from written import plan, problem

from iterreason.bench.speed import served
from iterreason.bench.speed.blocks import Bench, problems
from iterreason.bench.speed.fixed import moved, narrowed
from iterreason.bench.speed.served_page import measured
from iterreason.calls import EMPTY_PROMPT, Call, View
from iterreason.replies import questions_schema, read_questions, read_verdict, verdict_schema

pytestmark = pytest.mark.usefixtures("bare_environment")


def only(schema: dict) -> object:
    """The one value that a narrowed schema leaves."""
    if "enum" in schema:
        (value,) = schema["enum"]
        return value
    if "prefixItems" in schema:
        assert schema["minItems"] == schema["maxItems"] == len(schema["prefixItems"])
        return [only(part) for part in schema["prefixItems"]]
    return {name: only(part) for name, part in schema["properties"].items()}


@pytest.mark.parametrize("policy", ["evidence", "idealgpt"])
def test_a_narrowed_schema_leaves_one_reply_that_the_loop_reads(policy: str):
    """Whatever a policy's schema, one value is left of it: a verdict, or as many new questions as a round has."""
    fitted = plan(policy, questions="questions = 3")
    for number, text in enumerate(["one", "another"]):
        prompt = EMPTY_PROMPT.plus("user", text)
        call = Call("reasoner", "generation", prompt, schema=verdict_schema(problem(), fitted, 1))
        verdict = read_verdict(json.dumps(only(json.loads(narrowed(call, 3).schema))), problem(), fitted, 1, 1)
        assert verdict.answer == "yes"
        assert len(verdict.questions) == (3 if policy == "evidence" else 0), number
    asking = Call("reasoner", "generation", prompt, schema=questions_schema(problem(), fitted))
    assert len(read_questions(json.dumps(only(json.loads(narrowed(asking, 3).schema))), problem(), fitted)) == 3


def test_a_moved_call_is_the_same_about_another_problem():
    """What is sent again has texts of the same length with another number and image, so that no cache knows it."""
    old, new = problems(3, 1)[0], problems(8, 1)[0]
    prompt = EMPTY_PROMPT.plus("system", "Look.").plus("user", View(old.images[0]), old.question)
    again = moved(Call("answerer:0", "look", prompt), {"000003": "000008"}, {old.images[0].sha256: new.images[0]})
    assert again.prompt.messages[1].parts == (View(new.images[0]), new.question)
    assert len(again.prompt.messages[1].text) == len(prompt.messages[1].text)


def test_what_could_be_cached_is_whole_blocks_of_an_earlier_prefix():
    """A second round could have cached the whole blocks of the first with its reply, and nothing of its own."""

    async def hits(fake: FakeServer) -> list[dict[str, int]]:
        bench = await Bench.open(fake.uri(), fake.uri(), block_size=16, first=0)
        try:
            _, made = await bench.solve("evidence", 1, 1, rounds=2)
            first = [one for one in made if one.call.slot == "reasoner"]
            return [await bench.hits([one]) for one in first]
        finally:
            await bench.close()

    with FakeServer() as fake:
        begin, *later = asyncio.run(hits(fake))
    assert begin["could"] == 0
    assert [one["could"] % 16 for one in later] == [0] * len(later)
    assert all(one["could"] > 0 for one in later)
    assert [one["could"] for one in later] == sorted(one["could"] for one in later)


def test_the_benchmark_measures_keeps_and_writes(tmp_path, capsys):
    """One pair of blocks gives every figure; the same command measures nothing twice; other sizes are refused."""
    sizes = ["--pairs", "1", "--problems", "2", "--alone", "1", "--curves", "0", "--keep", str(tmp_path / "kept.jsonl")]
    with FakeServer() as fake:
        command = ["--reasoner", fake.uri(), "--answerer", fake.uri(), "--out", str(tmp_path), *sizes]
        assert served.main(command) == 0
        asked = len(fake.chats)
        assert served.main(command) == 0
        assert len(fake.chats) < asked + 20, "only the probe's requests"
        assert served.main([*command, "--alone", "2"]) == 2
    found = json.loads((tmp_path / "performance.json").read_text())
    for key in ("throughput_ratio", "saturation", "prompt_tokens_vs_cached_idealgpt", "prefix_hit_rate"):
        assert found[key]["low"] <= found[key]["median"] <= found[key]["high"]
        assert found[key]["n"] == 1
    assert found["generations_a_round"]["median"] == 1
    assert found["versions"]["openai"]
    assert "| `idealgpt`: 2 problems in flight, over call by call | ≥ 5 |" in (tmp_path / "performance.md").read_text()
    assert "holds blocks of other sizes" in capsys.readouterr().err


def test_an_interval_needs_no_assumption_and_a_miss_is_said():
    """Six values cover the median with their range (96.9 %), twenty with less; a missed target says by how much."""
    six = measured("speed", [1, 2, 3, 4, 5, 6], 7.0)
    assert (six.median, six.low, six.high) == (3.5, 1, 6)
    assert six.verdict == "**missed** by 50%"
    twenty = measured("cost", list(range(20)), 10, rising=False)
    assert (twenty.low, twenty.high, twenty.verdict) == (5, 14, "met")
