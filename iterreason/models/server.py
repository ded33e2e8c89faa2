"""Any OpenAI-compatible server as a model: `vllm serve`, llama.cpp, a hosted API."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Self

from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    AsyncStream,
    BadRequestError,
    HttpxBinaryResponseContent,
    UnprocessableEntityError,
)
from pydantic import BaseModel

from iterreason.calls import Call, Capabilities, Reply, digest
from iterreason.errors import IterReasonError, ModelFailed, UnknownModel, unknown
from iterreason.models import OnStrain, OnText, wire
from iterreason.models.address import Address, parse_uri, read_key
from iterreason.models.client import Anonymous, Outage, Watched
from iterreason.models.failures import advice, explain, said, tidy
from iterreason.models.probe import probe
from iterreason.models.ranking import Reading, rank, ranked

REACH_SECONDS = 5.0  # to list the models; a server that is up answers at once
NOT_OFFERED = (404, 405, 501)  # servers without a list of models


class Served(BaseModel):
    """An entry in a server's list of models; all but `id` is vLLM's. `parent`: of an adapter, the model it is for."""

    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class ServedList(BaseModel):
    """A server's list of models."""

    data: list[Served]


class Server:
    """A model behind an OpenAI-compatible server.

    uri: `openai:MODEL@http://host:port/v1`; `openai:MODEL` is the hosted API, or the server at OPENAI_BASE_URL.
    timeout: seconds that one attempt may take; a call, retries included, ends within `timeout * (retries + 1)`.
    retries: of what can pass (no connection, time-out, 408, 409, 429, 5xx), with the SDK's back-off; 0 for none.
    patience: seconds that a server which answered before may be gone (refused, 502, 503, 504): until then a call
        goes on trying to connect while its time lasts, so that a restart is survived. 0, or no retries: not at all.
    on_strain: told of each attempt that met 429, 503 or a time-out.
    The key comes from ITERREASON_API_KEY, else OPENAI_API_KEY; no reply, error or representation holds it.
    OPENAI_API_KEY, OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS go only to the hosted API and to
    OPENAI_BASE_URL.

    Raises UnknownModel for a malformed URI, Misuse where the hosted API has no key, BadConfig for a malformed key.
    """

    def __init__(self, uri: str, *, timeout: float = 60.0, retries: int = 3, patience: float = 120.0) -> None:
        self._address: Address = parse_uri(uri)
        self._key = read_key(self._address)
        self._timeout, self._retries = timeout, retries
        self._dialect = wire.Dialect()
        self._has_adapters = False
        self._capabilities = Capabilities(model=str(self._address))
        self._outage = Outage(patience if retries else 0.0)
        self._http = Watched()
        client = AsyncOpenAI if self._address.own else Anonymous
        self._client = client(
            api_key=self._key,
            base_url=self._address.url,
            timeout=timeout,
            max_retries=retries,
            http_client=self._http,
        )

    @classmethod
    async def open(cls, uri: str, *, timeout: float = 60.0, retries: int = 3) -> Self:
        """A connected server; raises what the constructor and `connect` raise."""
        server = cls(uri, timeout=timeout, retries=retries)
        try:
            await server.connect()
        except BaseException:
            await server.close()
            raise
        return server

    def __repr__(self) -> str:
        return f"Server({str(self._address)!r})"

    @property
    def on_strain(self) -> OnStrain | None:
        """Who is told of strain."""
        return self._http.on_strain

    @on_strain.setter
    def on_strain(self, told: OnStrain | None) -> None:
        self._http.on_strain = told

    def capabilities(self) -> Capabilities:
        """What the server was found to do; before `connect`, nothing but chatting is taken for granted."""
        return self._capabilities

    async def connect(self) -> None:
        """Reach the server, find the model, and find out by test requests what it can do.

        All of it ends within `timeout * (retries + 1)`, as a call does: a server's first requests are its slowest.

        Raises ModelFailed where the server cannot be reached or does not answer, UnknownModel where it lacks the model.
        """
        failure = None
        try:
            async with asyncio.timeout(self._timeout * (self._retries + 1)):
                self._capabilities = await self._examine()
        except IterReasonError:
            raise
        except Exception as error:
            cannot = "reach" if isinstance(error, APIConnectionError | TimeoutError) else "use"
            reason, step = explain(error, self._key), advice(error, self._address.model)
            failure = ModelFailed(f"cannot {cannot} {self._address.url}: {reason}; {step}")
        if failure:  # raised out here, with no context: the error behind it may hold a body that echoes the key
            raise failure

    async def _examine(self) -> Capabilities:
        served = await self._served()
        # With adapters, vLLM 0.32 dies of a request for a prompt's log-probabilities (its issue 29955), or tells wrong
        # ones (51594).
        found = await probe(self._send, self._address.model, reads=not self._has_adapters)
        # Two servings under one name differ where their weights do.
        weights = f"#{digest(served.root)[:8]}" if served.root and served.root != served.id else ""
        return Capabilities(
            model=f"{self._address}{weights}",
            images=found.images,
            schema=found.schema,
            logprobs=found.logprobs,
            scores=found.scores,
            ranks=found.ranks,
            holds=found.holds,
            samples=found.samples,
            cached_tokens=found.cached_tokens,
            context_tokens=served.max_model_len,
        )

    async def _served(self) -> Served:
        client = self._client.with_options(timeout=min(REACH_SECONDS, self._timeout), max_retries=min(1, self._retries))
        try:
            response = await client.get("/models", cast_to=HttpxBinaryResponseContent)
        except APIStatusError as error:
            if error.status_code in NOT_OFFERED:
                return Served(id=self._address.model)
            raise
        served = {entry.id: entry for entry in wire.parse(response.content, ServedList).data}
        self._has_adapters = any(entry.parent for entry in served.values())
        if self._address.model not in served:
            raise UnknownModel(f"{self._address.url}: {unknown('model', self._address.model, served)}")
        return served[self._address.model]

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one call; `on_text` gets the first sample's text as it streams."""
        begin = perf_counter()
        try:
            async with asyncio.timeout(self._timeout * (self._retries + 1)):
                ranks = ranked(call) and self._capabilities.ranks
                answer = await (rank(call, partial(self._read, call)) if ranks else self._sampled(call, on_text))
        except Exception as error:
            answer = Reply(error=explain(error, self._key))
        error_line = answer.error and tidy(answer.error, self._key)
        return replace(answer, error=error_line, seconds=perf_counter() - begin)

    async def _sampled(self, call: Call, on_text: OnText | None) -> Reply:
        """The reply with all samples; those that the server does not give together are asked for alone, all at once."""
        body, wanted = wire.request(call, self._address.model, self._capabilities.logprobs), call.sampling.n
        if ranked(call) and self._capabilities.holds:
            body |= wire.held_to(call.choices)
        replies: list[Reply] = []
        if wanted == 1 or not self._dialect.singles:
            together = await self._outlasting(body, on_text)
            given = len(together.choices)
            short = 0 < given < wanted
            replies.append(wire.reply(together, call, given if short else wanted))
            if not short or replies[0].error:
                return replies[0]
            self._dialect.singles = not (self._dialect.greedy_alone and call.sampling.temperature == 0)
        numbers = range(sum(len(reply.samples) for reply in replies), wanted)
        alone = (self._single(wire.single(body, call, i), call, None if i else on_text) for i in numbers)
        return wire.merged([*replies, *await asyncio.gather(*alone)])

    async def _single(self, body: wire.Request, call: Call, on_text: OnText | None) -> Reply:
        try:
            return wire.reply(await self._outlasting(body, on_text), call, 1)
        except Exception as error:  # as a reply, so that the tokens of the others still count
            return Reply(error=explain(error, self._key))

    async def _read(self, call: Call, choice: str) -> Reading:
        try:
            return (await self._send(wire.reading(call, self._address.model, choice))).read
        except Exception as error:  # as a reading, so that the tokens of the others still count
            return Reading(error=explain(error, self._key))

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        await self._client.close()

    # -------------------------------------------------------------- one request

    async def _outlasting(self, body: wire.Request, on_text: OnText | None) -> wire.Body:
        """Send a request, again and again while the server is gone and patience lasts."""
        while True:
            try:
                answer = await self._send(body, on_text)
            except (APIConnectionError, APIStatusError) as error:
                if on_text is not None or not self._outage.bears(error):
                    raise
            else:
                self._outage.over()
                return answer

    async def _send(self, body: wire.Request, on_text: OnText | None = None) -> wire.Body:
        """Send a request in the server's dialect; once more where the body of the response is garbage."""
        spare = 1 if self._retries and on_text is None else 0
        while True:
            sent = self._dialect.fit(body)
            try:
                return await (self._post(sent) if on_text is None else self._stream(sent, on_text))
            except (BadRequestError, UnprocessableEntityError) as error:
                if not self._dialect.learn(sent, said(error)):
                    raise
            except wire.Unreadable:
                if not spare:
                    raise
                spare -= 1

    async def _post(self, body: wire.Request) -> wire.Body:
        # As bytes: the SDK's own reading would let HTML pass as text and hide absent fields.
        response = await self._client.post("/chat/completions", cast_to=HttpxBinaryResponseContent, body=body)
        return wire.parse(response.content, wire.Body)

    async def _stream(self, body: wire.Request, on_text: OnText) -> wire.Body:
        body = body | {"stream": True, "stream_options": {"include_usage": True}}
        stream = await self._client.post(
            "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
        )
        chunks: list[wire.Body] = []
        async with stream:
            async for event in stream:
                chunks.append(wire.parse(event, wire.Body))
                for piece in chunks[-1].choices:
                    if piece.index == 0 and piece.message.content:
                        on_text(piece.message.content)
        return wire.join(chunks)
