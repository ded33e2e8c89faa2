"""A real server that is killed: the last test, since it takes the server from the others."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import psutil
import servers
from tiny import picture

from iterreason.calls import EMPTY_PROMPT, Call, Look, Reply, Sampling, View
from iterreason.errors import ModelFailed
from iterreason.models import open_model

START_SECONDS = 300


def test_a_killed_server_answers_again(served: dict[str, servers.Serving]) -> None:
    """`iterreason serve` starts a vLLM anew that was killed, at the same address, and the other one stays as it is."""
    one, port = served["llava"], urlsplit(served["llava"].uri.rpartition("@")[2]).port
    lines = {process: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}
    [server] = [process for process, line in lines.items() if "serve" in line and f"--port={port}" in line]
    server.kill()
    server.wait(30)
    end = time.monotonic() + START_SECONDS
    while (reply := asyncio.run(asked(one.uri))) is None:
        assert time.monotonic() < end, one.log.read_text()[-2000:]
        time.sleep(1)
    assert reply.error is None
    assert reply.text in ("red", "blue")
    assert "vllm ended with code -9; starting it anew in 1 s" in (one.log.parent / "serve.log").read_text()


async def asked(uri: str) -> Reply | None:
    """The answer to a question; nothing while the server is down."""
    view = View(picture("red"))
    prompt = EMPTY_PROMPT.plus("user", view, "What colour is it?")
    try:
        model = await open_model(uri, "answerer")
    except ModelFailed:
        return None
    look = Look(view, "What colour is it?")
    reply = await model.complete(
        Call("answerer:0", "look", prompt, look, Sampling(max_tokens=4), choices=("red", "blue"))
    )
    await model.close()
    return reply
