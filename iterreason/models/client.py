"""The HTTP client under a `Server`: the SDK's, told apart from the user's own settings, and watched for strain."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import httpx2
from openai import APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient

from iterreason.models import OnStrain

BUSY = (429, 503, 529)  # too many requests, in the words of OpenAI, of gateways, and of some hosts
UNREACHED = (502, 503, 504)  # a gateway whose server is gone, or on its way back


class Anonymous(AsyncOpenAI):
    """A client that sends nothing of what the SDK reads from OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_CUSTOM_HEADERS.

    A class, since `with_options` builds another client, which reads them again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.organization = self.project = None
        self._custom_headers = {}


class Watched(DefaultAsyncHttpxClient):
    """Tells of every attempt that was turned away or came too late, those included that the SDK repeats unseen."""

    on_strain: OnStrain | None = None

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send one attempt."""
        began = perf_counter()
        try:
            response = await super().send(request, **options)
        except httpx2.TimeoutException:
            if self.on_strain:
                self.on_strain(began, perf_counter())
            raise
        if self.on_strain and response.status_code in BUSY:
            self.on_strain(began, perf_counter(), _retry_after(response))
        return response


def _retry_after(response: httpx2.Response) -> float:
    """Seconds that the server wants to be left alone; 0 where it names none, or a date (the SDK waits for that)."""
    try:
        seconds = float(response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


class Outage:
    """Whether to wait for a server that is gone: for `patience` seconds since it last answered, over all calls.

    A restart is waited for; a server that never comes back costs that time once, not once for each call.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._began: float | None = None

    def over(self) -> None:
        """The server answered."""
        self._began = None

    def bears(self, error: Exception) -> bool:
        """Whether this failure is one of an outage that may still pass."""
        if isinstance(error, APIStatusError):
            gone = error.status_code in UNREACHED
        else:  # not where a connection broke off: the request itself may be what breaks it, each time
            gone = isinstance(error.__cause__, httpx2.ConnectError)
        if not gone:
            return False
        if self._began is None:
            self._began = perf_counter()
        return perf_counter() - self._began < self._patience
