"""Short ways to put calls to a `Server` on the fake server; shared by its tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO

from fake_server import FakeServer
from PIL import Image as Picture

from iterreason.calls import EMPTY_PROMPT, Call, Capabilities, Reply, View
from iterreason.models.server import Server
from iterreason.records import Image

PROMPT = EMPTY_PROMPT.plus("system", "Reason.").plus("user", "How many?")
ASK = Call("reasoner", "generation", PROMPT)


def ask(
    fake: FakeServer,
    call: Call = ASK,
    *,
    on_text: Callable[[str], None] | None = None,
    timeout: float = 5.0,
    retries: int = 0,
) -> Reply:
    """The reply to one call by a model that has not been probed."""

    async def once() -> Reply:
        model = Server(fake.uri(), timeout=timeout, retries=retries)
        try:
            return await model.complete(call, on_text)
        finally:
            await model.close()

    return asyncio.run(once())


def found(fake: FakeServer, model: str = "m", timeout: float = 5.0) -> Capabilities:
    """The capabilities after connecting."""

    async def once() -> Capabilities:
        server = await Server.open(fake.uri(model), timeout=timeout, retries=0)
        await server.close()
        return server.capabilities()

    return asyncio.run(once())


def square() -> View:
    """A small red picture."""
    buffer = BytesIO()
    Picture.new("RGB", (8, 8), "red").save(buffer, "PNG")
    data = buffer.getvalue()
    return View(Image(sha256(data).hexdigest(), 8, 8, data=data))
