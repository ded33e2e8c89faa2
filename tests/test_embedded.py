"""The embedded pair, for real: what `make demo` runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from iterreason import Reasoner
from iterreason.calls import Call, Capabilities, Reply
from iterreason.demo import problems
from iterreason.models import Model, embedded
from iterreason.records import Result

pytest.importorskip("torch", reason="the embedded pair needs the extra `local`: pip install 'iterreason[local]'")


class Watched:
    """A model in front of the real one: counts what is asked of it, and may put other words into a reply's mouth."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.questions: list[str] | None = None

    async def complete(self, call: Call, on_text=None) -> Reply:
        self.calls.append(call)
        if self.questions is not None and call.purpose == "generation":
            from dataclasses import replace

            reply = await self.model.complete(call)
            said = {**json.loads(reply.text), "questions": self.questions}
            return replace(reply, samples=(replace(reply.samples[0], text=json.dumps(said)),))
        return await self.model.complete(call)

    def capabilities(self) -> Capabilities:
        return self.model.capabilities()

    async def close(self) -> None:
        await self.model.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Watched, Reasoner]]:
    watched = Watched(embedded.reasoner())
    with Reasoner(watched, "embedded") as reasoner:
        yield watched, reasoner


def looked(result: Result) -> list[str]:
    return [e.question for e in result.memory.evidence if e.round]


def test_the_demo_is_reasoned_by_the_model(pair):
    """Every verdict and every sub-question of the demo comes from a generation of the language model."""
    watched, reasoner = pair
    for problem in problems():
        watched.calls.clear()
        result = reasoner.solve(problem)
        generations = [c for c in watched.calls if c.purpose == "generation"]
        assert len(generations) == result.usage.generations == len(result.rounds) >= 2
        assert looked(result), "the demo shows more than one round, with questions of the model's own"
        asked = {q.text for r in result.rounds for q in r.verdict.questions}
        assert set(looked(result)) <= asked


def test_other_replies_lead_to_other_questions(pair):
    """No hand-written rule stands in for the reasoner: what its reply asks is what is looked at."""
    watched, reasoner = pair
    problem = problems()[0]
    seen = {}
    for asked in (["how many red circles are there?"], ["is there a green square?", "what color is the square?"]):
        watched.questions = asked
        seen[tuple(asked)] = looked(reasoner.solve(problem))
    watched.questions = None
    for asked, questions in seen.items():
        assert questions == list(asked)


def test_each_answer_has_a_real_probability(pair):
    """The embedded answerer gives every caption and answer the probability that its own scores give."""
    _, reasoner = pair
    memory = reasoner.solve(problems()[0]).memory
    assert all(e.probability is not None and 0 < e.probability <= 1 for e in memory.standing)


def test_the_second_round_computes_only_what_is_new(pair):
    """The prompt of a later round is served from the prefix cache up to what was added."""
    watched, reasoner = pair
    watched.calls.clear()
    result = reasoner.solve(problems()[1])
    assert result.usage.cached_tokens > 0.6 * result.usage.prompt_tokens
