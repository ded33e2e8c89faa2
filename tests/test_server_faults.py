"""A server that is down, slow, busy or talks nonsense; many calls at once; calls cut off."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from fake_server import GARBAGE, HTML, Answer, Body, FakeServer, Fault, busy, complaint, completion, slow
from server_calls import ASK, ask

from iterreason.calls import EMPTY_PROMPT, Call, Reply, View
from iterreason.models.server import Server
from iterreason.records import Image

SOON = {"Retry-After": "0.01"}


pytestmark = pytest.mark.usefixtures("bare_environment")


# ------------------------------------------------------------------ faults

HALF = Fault(status=200, body=json.dumps(completion("x"))[:40])
FAULTS: list[tuple[Answer, str]] = [
    (Fault(status=500), "HTTP 500: out of order"),
    (Fault(status=502, body="<html>Bad gateway</html>"), "HTTP 502: an HTML page"),
    (Fault(status=400, body={"detail": "no such field"}), "HTTP 400: no such field"),
    (Fault(status=400, body=""), "HTTP 400: Error code: 400"),
    (busy(0.01), "HTTP 429: too many requests"),
    (HTML, "unreadable reply: HTML instead of JSON; it begins <html><body>Welcome"),
    (GARBAGE, "unreadable reply: Invalid JSON"),
    (HALF, "unreadable reply: Invalid JSON: EOF"),
    ({"choices": [{"message": 3}]}, "unreadable reply: choices.0.message"),
    (b"\x1b[31m" + b"z" * 100_000, "unreadable reply: Invalid JSON"),
    (Fault(cut=0.9), "connection failed: peer closed"),
    (Fault(cut=0), "connection failed: Server disconnected"),
    (completion(), "the reply holds no choices"),
    (completion(None, finish="length"), "the reply holds no text (finish reason: length)"),
    (completion("", finish="content_filter"), "the server's content filter withheld the reply"),
    (
        {"choices": [{"message": {"content": None, "refusal": "I will not"}, "finish_reason": "stop"}]},
        "the model refused: I will not",
    ),
]


@pytest.mark.parametrize(("answer", "reason"), FAULTS)
def test_a_fault_is_a_reply_with_its_reason(fake: FakeServer, answer: Answer, reason: str) -> None:
    """Whatever a server answers, a call ends in one printable line of at most 300 characters, and never raises."""
    fake.script(forever=answer)
    reply = ask(fake)
    assert reply.error is not None
    assert reply.error.startswith(reason)
    assert reply.error.isprintable()
    assert len(reply.error) <= 300
    assert reply.samples == ()
    assert reply.seconds > 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HTML, "unreadable reply: no events in the stream"),
        (Fault(status=500), "HTTP 500"),
        (Fault(status=200, body=completion("a long text"), cut=0.7), "connection failed: peer closed"),
        (b'data: {"choi\n\n', "unreadable reply: "),
        (b"data: [3]\n\n", "unreadable reply: "),
        (b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n', "unreadable reply: the stream ended"),
        (b'data: {"error": {"message": "out of memory"}}\n\n', "the server broke off: out of memory"),
        (completion(), "the reply holds no choices"),
    ],
)
def test_a_broken_stream_is_a_reply_with_its_reason(fake: FakeServer, answer: Answer, reason: str) -> None:
    """A stream that fails, before or after its first words, ends in an error; it is never taken for whole."""
    fake.script(forever=answer)
    reply = ask(fake, on_text=lambda _: None)
    assert reply.error is not None
    assert reply.error.startswith(reason)


@pytest.mark.parametrize(
    "fault", [busy(0.01), Fault(headers=SOON), Fault(cut=0.9, headers=SOON), HTML, HALF, GARBAGE], ids=str
)
def test_what_can_pass_is_tried_again(fake: FakeServer, fault: Fault) -> None:
    """One failure that can pass, and a server that then answers, make one good reply."""
    fake.script(fault, "fine")
    assert ask(fake, retries=2).text == "fine"
    assert len(fake.chats) == 2


def test_retries_end(fake: FakeServer) -> None:
    """A server that is busy for good, or answers only garbage, is left after the allowed retries (one for garbage)."""
    fake.script(forever=busy(0.01))
    assert str(ask(fake, retries=3).error).startswith("HTTP 429")
    assert len(fake.chats) == 4
    fake.script(forever=GARBAGE)
    assert str(ask(fake, retries=3).error).startswith("unreadable")
    assert len(fake.chats) == 2


def test_a_bad_request_is_not_repeated(fake: FakeServer) -> None:
    """The same bad request would fail again: it is sent once."""
    fake.script(forever=Fault(status=400, body=complaint("bad image")))
    assert ask(fake, retries=3).error == "HTTP 400: bad image"
    assert len(fake.chats) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("This model's maximum context length is 2048 tokens. However, you requested 3000", None),
        ("The decoder prompt (length 3000) is longer than the maximum model length of 2048.", None),
        ("the request exceeds the available context size", None),
        ("Too long.", "context_length_exceeded"),
    ],
)
def test_a_prompt_that_does_not_fit_is_told_apart(fake: FakeServer, message: str, code: str | None) -> None:
    """Servers say it in many ways; the loop sees one prefix."""
    fake.script(Fault(status=400, body=complaint(message, code=code)))
    assert ask(fake).error == f"context: {message}"


def test_a_slow_server_times_out(fake: FakeServer) -> None:
    """A call, retries included, ends within timeout x (retries + 1), whatever the server does."""
    fake.script(forever=slow(5.0))
    begin = time.perf_counter()
    assert ask(fake, timeout=0.1, retries=0).error == "time-out: no reply in time"
    assert ask(fake, timeout=0.1, retries=3).error == "time-out: no reply in time"
    assert time.perf_counter() - begin < 3.0


def test_a_server_that_is_down_is_a_reply_too() -> None:
    """Nobody listening, or no such host, is an error of the call."""
    with FakeServer() as fake:
        pass
    assert ask(fake).error == "connection refused"


def test_an_image_that_cannot_be_sent_is_a_reply_too(fake: FakeServer) -> None:
    """A view whose pixels are gone (a replayed one) is an error of the call; nothing is sent."""
    hollow = View(Image("0" * 64, 8, 8))
    assert ask(fake, Call("answerer:0", "look", EMPTY_PROMPT.plus("user", hollow, "?"))).error
    assert fake.chats == []


def test_closed_means_closed(fake: FakeServer) -> None:
    """Closing twice is safe; a call after it is an error, not a hang."""

    async def late() -> Reply:
        model = Server(fake.uri())
        await model.complete(ASK)
        await model.close()
        await model.close()
        return await model.complete(ASK)

    assert "closed" in str(asyncio.run(late()).error)


# ------------------------------------------------------------------ many at once


def test_calls_run_at_once(fake: FakeServer) -> None:
    """Thirty-two calls over one client are in flight together, and each gets its own reply."""

    together = threading.Barrier(32, timeout=10)

    def echo(body: Body) -> Answer:
        together.wait()
        return str(body["messages"][-1]["content"])

    async def many() -> list[Reply]:
        model = Server(fake.uri(), retries=0)
        calls = [Call("reasoner", "generation", EMPTY_PROMPT.plus("user", str(i))) for i in range(32)]
        replies = await asyncio.gather(*(model.complete(call) for call in calls))
        await model.close()
        return replies

    fake.script(forever=echo)
    assert [reply.text for reply in asyncio.run(many())] == [str(i) for i in range(32)]
    assert fake.most_at_once == 32


@pytest.mark.parametrize("connecting", [True, False])
def test_cancelling_leaves_nothing_behind(fake: FakeServer, connecting: bool) -> None:
    """A cancelled call raises CancelledError, at once, and no task and no thread of ours outlives it."""
    fake.script(forever=slow(5.0))

    async def cut_off() -> float:
        model = Server(fake.uri())
        task = asyncio.create_task(model.connect() if connecting else model.complete(ASK))
        await asyncio.sleep(0.1)
        begin = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.perf_counter() - begin
        await model.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return took

    assert asyncio.run(cut_off()) < 2.0
    assert not [thread for thread in threading.enumerate() if "AnyIO" in thread.name]


# ------------------------------------------------------------------ strain and outages


def test_strain_is_told_attempt_by_attempt(fake: FakeServer) -> None:
    """Of each 429, 503 and time-out the listener hears, with the server's wait, though the retried reply is good."""
    told: list[float] = []

    async def strained() -> Reply:
        model = Server(fake.uri(), timeout=0.3, retries=4)
        model.on_strain = lambda began, now, wait=0.0: told.append(wait)
        reply = await model.complete(ASK)
        await model.close()
        return reply

    fake.script(slow(1.0), busy(0.02), Fault(status=503, headers=SOON), Fault(status=500, headers=SOON), "fine")
    assert asyncio.run(strained()).text == "fine"
    assert told == [0.0, 0.02, 0.01]


def test_an_outage_is_waited_for_once() -> None:
    """Calls outlast a server's absence for its `patience`, over all calls; after it they fail with the reason."""
    with FakeServer() as fake:
        uri = fake.uri()

    async def waits() -> tuple[list[Reply], float, float]:
        model = Server(uri, timeout=5.0, retries=1, patience=0.8)
        begin = time.perf_counter()
        replies = await asyncio.gather(*(model.complete(ASK) for _ in range(3)))
        between = time.perf_counter()
        replies.append(await model.complete(ASK))
        await model.close()
        return replies, between - begin, time.perf_counter() - between

    replies, together, after = asyncio.run(waits())
    assert [reply.error for reply in replies] == ["connection refused"] * 4
    assert together >= 0.8
    assert after < together
