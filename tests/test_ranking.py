"""Looks with choices on a server that can score whole answers."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace

import pytest
from fake_server import FakeServer, Fault, complaint
from server_calls import square

from iterreason.calls import EMPTY_PROMPT, Call, Look, Reply, Sampling, Tokens
from iterreason.models.ranking import Read, spelled
from iterreason.models.server import Server

pytestmark = pytest.mark.usefixtures("bare_environment")

LOOK = Call(
    "answerer:0", "look", EMPTY_PROMPT.plus("user", square(), "How many?"), Look(square(), "How many?"),
    choices=("many", "two dogs", "two"),
)  # fmt: skip


def looked(fake: FakeServer, call: Call = LOOK) -> Reply:
    """The reply of a server that was probed."""

    async def once() -> Reply:
        server = await Server.open(fake.uri(), timeout=5.0, retries=0)
        try:
            return await server.complete(call)
        finally:
            await server.close()

    return asyncio.run(once())


def test_each_choice_is_scored_as_a_whole_answer() -> None:
    """A score sums over all of a choice's tokens and its end: a choice that begins another does not win by that."""
    with FakeServer(vllm=True) as fake:
        reply = looked(fake)
    # The fake gives a word -0.5 for each of its letters, and the end (5 letters) the same.
    assert reply.scores == (-2.0 - 2.5, -1.5 - 2.0 - 2.5, -1.5 - 2.5)
    assert (reply.text, reply.samples[0].logprobs) == ("two", (-1.5, -2.5))
    assert reply.tokens == Tokens(3 * 76, 0, 9), "all three readings are counted"


def test_samples_of_a_ranked_look_follow_its_scores() -> None:
    """At a temperature the answers are drawn by their scores; the seed fixes them, and without one they differ."""
    drawn = replace(LOOK, sampling=Sampling(1.0, n=400, seed=3))
    with FakeServer(vllm=True) as fake:
        first, again = looked(fake, drawn), looked(fake, drawn)
        free = looked(fake, replace(LOOK, sampling=Sampling(1.0, n=400)))
    assert first.samples == again.samples != free.samples
    masses = [math.exp(score) for score in first.scores]
    counts = Counter(sample.text for sample in first.samples)
    for choice, mass in zip(LOOK.choices, masses, strict=True):
        assert counts[choice] / 400 == pytest.approx(mass / sum(masses), abs=0.1)


def test_a_failed_reading_fails_the_look() -> None:
    """One choice that could not be scored is an error; the others' scores are not passed off as all."""

    def spoilt(body):
        said = body["messages"][-1]
        return Fault(status=400, body=complaint("out of order")) if said["content"] == "two dogs" else fake.honest(body)

    with FakeServer(vllm=True) as fake:
        fake.script(forever=spoilt)
        reply = looked(fake)
    assert (reply.samples, reply.scores) == ((), ())
    assert "out of order" in (reply.error or "")


def test_a_server_that_only_holds_to_choices_is_held_to_them() -> None:
    """Where whole answers cannot be scored, the reply is at least bound to the choices, and has no scores."""

    def no_reading(body):
        return (
            Fault(status=400, body=complaint("no prompt_logprobs")) if "prompt_logprobs" in body else fake.honest(body)
        )

    with FakeServer(vllm=True) as fake:
        fake.script(forever=no_reading)
        reply = looked(fake)
        assert fake.chats[-1]["structured_outputs"] == {"choice": ["many", "two dogs", "two"]}
    assert (reply.text, reply.scores, reply.error) == ("many", (), None)


@pytest.mark.parametrize(
    ("tokens", "text", "found"),
    [
        (["<user>", "red", "<end>", "<bot>", "red", "<end>", "\n"], "red", (4.0, 5.0)),
        (["<bot>", " re", "d", " dot"], "red dot", (1.0, 2.0, 3.0)),
        (["<bot>", "redder", "<end>"], "red", ()),
        (["red", *["<end>"] * 9], "red", ()),
        ([], "red", ()),
    ],
)
def test_the_last_tokens_that_spell_a_text_are_found(tokens, text, found) -> None:
    """The reply stands last: the same word in the question is not taken for it, nor a word that only begins like it."""
    assert spelled([Read(token, float(n)) for n, token in enumerate(tokens)], text) == found
