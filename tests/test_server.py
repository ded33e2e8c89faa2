"""What a server is sent for a call, and what becomes of its answer."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import threading
from dataclasses import replace
from io import BytesIO

import pytest
from fake_server import Answer, Body, FakeServer, Fault, complaint, completion, logprobs
from PIL import Image as Picture
from server_calls import ASK, PROMPT, ask, found, square

from iterreason.calls import EMPTY_PROMPT, Call, Look, Reply, Sampling, Tokens
from iterreason.models.server import Server

LETTERS = Call("reasoner", "readout", PROMPT, choices=("A", "B", "C"), sampling=Sampling(max_tokens=1))


pytestmark = pytest.mark.usefixtures("bare_environment")


# ------------------------------------------------------------------ what is sent


def test_a_plain_call_sends_what_it_says(fake: FakeServer) -> None:
    """Messages without images travel as plain text; nothing is sent that the call does not name."""
    ask(fake, Call("reasoner", "generation", PROMPT, sampling=Sampling(0.5, 77, 1, None)))
    assert fake.chats == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Reason."}, {"role": "user", "content": "How many?"}],
            "temperature": 0.5,
            "max_tokens": 77,
            "n": 1,
        }
    ]


def test_images_travel_in_the_order_given(fake: FakeServer) -> None:
    """An image that comes before the text stays before it, as a data URL of its own bytes."""
    view = square()
    ask(fake, Call("answerer:0", "look", EMPTY_PROMPT.plus("user", view, "Colour?"), look=Look(view, "Colour?")))
    image, text = fake.chats[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "Colour?"}
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert Picture.open(BytesIO(base64.b64decode(data))).getpixel((0, 0)) == (255, 0, 0)


def test_a_schema_and_a_seed_are_sent(fake: FakeServer) -> None:
    """A schema goes out as a strict response format, a seed as it is."""
    schema = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}}
    reply = ask(fake, Call("reasoner", "generation", PROMPT, schema=json.dumps(schema), sampling=Sampling(seed=7)))
    sent = fake.chats[0]
    assert sent["seed"] == 7
    assert sent["response_format"]["json_schema"] == {"name": "reply", "strict": True, "schema": schema}
    assert json.loads(reply.text) == {"answer": "yes"}


def test_independent_samples_get_independent_seeds(fake: FakeServer) -> None:
    """Calls that differ only in their sample index send different seeds, the same ones each time."""
    for _ in range(2):
        for sample in range(4):
            ask(fake, Call("reasoner", "generation", PROMPT, sample=sample, sampling=Sampling(1.0, seed=7)))
    seeds = [body["seed"] for body in fake.chats]
    assert len(set(seeds)) == 4
    assert seeds[:4] == seeds[4:]


def test_log_probabilities_are_asked_for_where_the_server_gives_them(fake: FakeServer) -> None:
    """Once a server is known to give log-probabilities, every call asks for them and samples carry them."""

    async def talk() -> Reply:
        model = Server(fake.uri(), retries=0)
        await model.connect()
        fake.script(completion("two", logprobs=logprobs(("tw", -0.25), ("o", -0.5))))
        reply = await model.complete(ASK)
        await model.close()
        return reply

    reply = asyncio.run(talk())
    assert fake.chats[0]["logprobs"] is True
    assert "top_logprobs" not in fake.chats[0]
    assert reply.samples[0].logprobs == (-0.25, -0.5)
    assert reply.samples[0].probability == pytest.approx(math.exp(-0.75))


def test_an_infinite_log_probability_is_none(fake: FakeServer) -> None:
    """A log-probability that is no number is never passed on as one."""
    body = json.dumps(completion("x", logprobs={"content": [{"token": "x", "logprob": -math.inf}]}))
    fake.script(body.encode())
    assert ask(fake).samples[0].logprobs is None


def test_a_server_that_wants_the_newer_field_gets_it(fake: FakeServer) -> None:
    """A complaint that names max_completion_tokens is heeded, once and for all later calls."""

    def picky(body: Body) -> Answer:
        return Fault(status=400, body=complaint("use 'max_completion_tokens'")) if "max_tokens" in body else "ok"

    async def twice() -> list[Reply]:
        model = Server(fake.uri(), retries=0)
        fake.script(forever=picky)
        replies = [await model.complete(ASK), await model.complete(ASK)]
        await model.close()
        return replies

    assert [reply.text for reply in asyncio.run(twice())] == ["ok", "ok"]
    assert [body.get("max_completion_tokens") for body in fake.chats] == [None, 256, 256]


# ------------------------------------------------------------------ what comes back


def test_tokens_are_counted_with_those_of_the_cache(fake: FakeServer) -> None:
    """Prompt, cached and completion tokens come from the usage; where it is absent they are zero."""
    fake.script(completion("x", cached=8), completion("x"), {"choices": completion("x")["choices"]})
    assert [ask(fake).tokens for _ in range(3)] == [Tokens(12, 8, 3), Tokens(12, 0, 3), Tokens()]


def test_choices_are_scored_by_their_first_token(fake: FakeServer) -> None:
    """Spellings of a letter add up, a letter that is not among the alternatives is None, other tokens do not count."""
    top = {"A": math.log(0.5), " A": math.log(0.25), "B\n": math.log(0.125), "Apple": math.log(0.1)}
    fake.script(completion("A", logprobs=logprobs(("A", math.log(0.5)), ("C", -0.1), top=top)))
    reply = ask(fake, LETTERS)
    assert fake.chats[0]["top_logprobs"] == 20
    assert fake.chats[0]["max_tokens"] == 1
    assert reply.scores == pytest.approx((math.log(0.75), math.log(0.125), None))


def test_the_sampled_token_counts_though_it_is_not_listed(fake: FakeServer) -> None:
    """A server may leave the sampled token out of the alternatives; its log-probability is known all the same."""
    fake.script(completion("C", logprobs=logprobs(("C", -3.0), top={"A": -0.1, "B": -math.inf})))
    assert ask(fake, LETTERS).scores == pytest.approx((-0.1, None, -3.0))


def test_a_read_out_without_log_probabilities_scores_nothing(fake: FakeServer) -> None:
    """No number is invented for a choice that the server did not measure."""
    fake.script("A")
    assert ask(fake, LETTERS).scores == (None, None, None)


def test_fewer_alternatives_are_better_than_none() -> None:
    """A server that refuses twenty alternatives is asked for five, at once in all later calls."""
    with FakeServer(most_top=5) as fake:
        assert ask(fake, LETTERS).scores == pytest.approx((-2.5, None, None))
        assert [body["top_logprobs"] for body in fake.chats] == [20, 5]
        assert found(fake).scores
    with FakeServer(most_top=1) as fake:
        assert "HTTP 400" in str(ask(fake, LETTERS).error)


def test_a_look_with_choices_is_not_scored_by_letter(fake: FakeServer) -> None:
    """The choices of a look are answers, not letters: it returns the text and no scores."""
    prompt = EMPTY_PROMPT.plus("user", "Colour?")
    reply = ask(fake, Call("answerer:0", "look", prompt, look=Look(square(), "Colour?"), choices=("red", "blue")))
    assert reply.text == "Paris"
    assert reply.scores == ()
    assert "top_logprobs" not in fake.chats[0]


def test_samples_come_in_order(fake: FakeServer) -> None:
    """Asked for n samples, the reply holds n, in the order of their index."""
    body = completion("a", "b", "c")
    body["choices"].reverse()
    fake.script(body)
    reply = ask(fake, Call("reasoner", "generation", PROMPT, sampling=Sampling(1.0, n=3)))
    assert [sample.text for sample in reply.samples] == ["a", "b", "c"]
    assert fake.chats[0]["n"] == 3


def test_more_samples_than_asked_are_an_error(fake: FakeServer) -> None:
    """Samples are never dropped in silence; their tokens still count."""
    fake.script(completion("a", "b", "c", "d"))
    reply = ask(fake, Call("reasoner", "generation", PROMPT, sampling=Sampling(1.0, n=3)))
    assert reply.error == "asked for 3 samples, the server gave 4"
    assert reply.tokens.prompt == 12


def test_a_server_that_ignores_n_is_asked_for_each_sample(fake: FakeServer) -> None:
    """The first call finds it out and asks for the rest alone; later calls ask for each sample alone, all at once."""
    call = Call("reasoner", "generation", PROMPT, sampling=Sampling(1.0, n=5, seed=7))
    together = threading.Barrier(5, timeout=5)

    def alone(body: Body) -> Answer:
        together.wait()
        return str(body["seed"])

    async def twice() -> tuple[Reply, Reply]:
        model = Server(fake.uri(), retries=0)
        fake.script(forever=lambda body: str(body["seed"]))
        first = await model.complete(call)
        assert [body["n"] for body in fake.chats] == [5, 1, 1, 1, 1]
        fake.script(forever=alone)
        second = await model.complete(call)
        await model.close()
        return first, second

    first, second = asyncio.run(twice())
    assert [body["n"] for body in fake.chats] == [1] * 5
    assert {str(body["seed"]) for body in fake.chats} == {sample.text for sample in second.samples}
    assert len({sample.text for sample in second.samples}) == 5
    assert first.samples == second.samples
    assert first.tokens == second.tokens == Tokens(60, 0, 15)


def test_samples_asked_for_alone_share_no_seed_with_other_calls(fake: FakeServer) -> None:
    """No two samples of calls that differ only in their sample index draw with one seed; no seed stays no seed."""
    fake.script(forever="a")
    for sample in range(3):
        ask(fake, Call("reasoner", "generation", PROMPT, sample=sample, sampling=Sampling(1.0, n=3, seed=7)))
    assert len({body["seed"] for body in fake.chats}) == len(fake.chats) == 9
    fake.script(forever="a")
    assert len(ask(fake, Call("reasoner", "generation", PROMPT, sampling=Sampling(1.0, n=3))).samples) == 3
    assert not [body for body in fake.chats if "seed" in body]


def test_some_samples_together_and_the_rest_alone(fake: FakeServer) -> None:
    """What the server gave together is kept, with its scores, and only what is missing is asked for."""
    letters = replace(LETTERS, sampling=Sampling(1.0, 1, n=3))
    fake.script(completion("A", "B", logprobs=logprobs(("A", -0.5), top={"A": -0.5})), "C")
    pieces: list[str] = []
    reply = ask(fake, letters, on_text=pieces.append)
    assert [sample.text for sample in reply.samples] == ["A", "B", "C"]
    assert reply.scores == pytest.approx((-0.5, None, None))
    assert pieces == ["A"]


@pytest.mark.parametrize(
    ("answers", "reason", "requests"),
    [
        (("a", "b", Fault(status=500)), "HTTP 500", 3),
        (("a", completion("b", "c"), "d"), "asked for 1 samples, the server gave 2", 3),
        (("a", completion(), "d"), "the reply holds no choices", 3),
        ((completion("", finish="content_filter"),), "the server's content filter", 1),
        ((completion(),), "the reply holds no choices", 1),
    ],
)
def test_one_bad_sample_spoils_the_reply(
    fake: FakeServer, answers: tuple[Answer, ...], reason: str, requests: int
) -> None:
    """An error among samples asked for alone is the reply's; what the others cost still counts."""
    fake.script(*answers)
    reply = ask(fake, Call("reasoner", "generation", PROMPT, sampling=Sampling(1.0, n=3)))
    assert str(reply.error).startswith(reason)
    assert reply.samples == ()
    assert len(fake.chats) == requests
    assert reply.tokens.prompt >= 12


def test_text_streams_and_adds_up(fake: FakeServer) -> None:
    """Streamed, the first sample's text arrives in pieces and the reply is the same as unstreamed."""
    answer = completion("one two", "other", cached=4, logprobs=logprobs(("one", -0.5), (" two", -0.25)))
    call = Call("reasoner", "generation", PROMPT, sampling=Sampling(1.0, n=2))
    pieces: list[str] = []
    fake.script(answer, answer)
    streamed, whole = ask(fake, call, on_text=pieces.append), ask(fake, call)
    assert fake.chats[0]["stream"] is True
    assert len(pieces) > 1
    assert "".join(pieces) == "one two"
    assert (streamed.samples, streamed.tokens) == (whole.samples, whole.tokens)


def test_greedy_samples_that_are_refused_together_are_asked_for_alone() -> None:
    """vLLM refuses several samples at temperature 0; that does not cost the shared prompt of those that are drawn."""

    def vllm(body):
        if body["temperature"] == 0 and body["n"] > 1:
            return Fault(status=400, body=complaint("n must be 1 when using greedy sampling, got 3."))
        return completion(*["a"] * body["n"])

    with FakeServer() as fake:
        fake.script(forever=vllm)

        async def both() -> list[Reply]:
            server = Server(fake.uri(), retries=0)
            replies = [await server.complete(replace(ASK, sampling=Sampling(t, n=3))) for t in (0.0, 1.0)]
            await server.close()
            return replies

        replies = asyncio.run(both())
    assert [len(reply.samples) for reply in replies] == [3, 3]
    assert [body["n"] for body in fake.chats] == [3, 1, 1, 1, 3]
