"""Blocks of the served benchmark: problems solved, or their requests sent again, and what that took."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httpx2

from iterreason.bench.speed.fixed import Fixed, Made, moved
from iterreason.calls import Call
from iterreason.errors import ModelFailed
from iterreason.models import open_model
from iterreason.models.server import Server
from iterreason.opening import Opened, open_models
from iterreason.policy import NamedPolicy, find_policy
from iterreason.records import Problem, Result

ROUNDS, QUESTIONS = 4, 3
Figures = dict[str, Any]


def problems(first: int, count: int) -> list[Problem]:
    """Problems with numbers from `first`, each with its own image; two never share more than the policy's text."""
    from PIL import Image as Pixels

    from iterreason.api import make_problem

    def image(number: int) -> Pixels.Image:
        return Pixels.frombytes("RGB", (48, 48), random.Random(number).randbytes(48 * 48 * 3))

    return [
        make_problem(image(n), f"Are there more red circles than blue squares in {_tag(n)}?", ["yes", "no"], id=str(n))
        for n in range(first, first + count)
    ]


def _tag(number: int) -> str:
    return f"scene {number:06}"


def policy(name: str, rounds: int = ROUNDS) -> NamedPolicy:
    """A shipped policy of exactly so many rounds of three sub-questions; no rule stops it earlier."""
    named = find_policy(name)
    least = min(named.policy.rounds.min, rounds)
    changed = replace(named.policy.rounds, max=rounds, min=least, questions=QUESTIONS)
    return NamedPolicy(named.name, named.text, replace(named.policy, rounds=changed, stop=()))


@dataclass
class Bench:
    """Two models, bound to replies of fixed length, and an engine for each bound of concurrency.

    next: the number of the next problem that no block has had. seen: blocks of tokens that the reasoner has had.
    """

    reasoner: Fixed
    answerer: Fixed
    servers: tuple[Server, ...]
    block_size: int
    next: int
    http: httpx2.AsyncClient
    opened: dict[int, Opened] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    @classmethod
    async def open(cls, reasoner: str, answerer: str, block_size: int, first: int) -> Bench:
        """Connect. Raises UnknownModel, ModelFailed."""
        models = [await open_model(uri, "reasoner") for uri in dict.fromkeys((reasoner, answerer))]
        servers = [model for model in models if isinstance(model, Server)]
        if len(servers) < len(models):
            raise ModelFailed("this benchmark needs servers: openai:MODEL@http://host:port/v1")
        http = httpx2.AsyncClient(timeout=60)
        fixed = Fixed(servers[0], QUESTIONS), Fixed(servers[-1], QUESTIONS)
        return cls(*fixed, tuple(servers), block_size, first, http)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        for server in self.servers:
            await server.close()

    async def engine(self, concurrency: int) -> Opened:
        """The engine of that bound; one for all blocks, so that what it learned of the servers stays."""
        if concurrency not in self.opened:
            self.opened[concurrency] = await open_models(
                self.reasoner, self.answerer, [policy("idealgpt")], concurrency=concurrency
            )
        return self.opened[concurrency]

    async def solve(self, name: str, count: int, concurrency: int, rounds: int = ROUNDS) -> tuple[Figures, list[Made]]:
        """Solve new problems; the figures, and the calls in the order in which they were sent.

        Raises ModelFailed where an episode ended early or with an error: then the figures would mean nothing.
        """
        opened = await self.engine(concurrency)
        plan = opened.fit(policy(name, rounds), all_rounds=True)
        wanted, self.next = problems(self.next, count), self.next + count
        for model in (self.reasoner, self.answerer):
            model.made.clear()
        began = perf_counter()
        results = [result async for _, result in opened.engine.run_many(wanted, plan)]
        seconds = perf_counter() - began
        for result in results:
            if result.error or len(result.rounds) != rounds:
                why = result.error or f"{len(result.rounds)} rounds instead of {rounds}: {result.stop_reason}"
                raise ModelFailed(f"problem {result.problem.id} under {name} did not run as it should: {why}")
        made = sorted([*self.reasoner.made, *self.answerer.made], key=lambda one: one.began)
        return _figures(results, made, seconds) | {"limit": opened.told()}, made

    async def send_again(self, made: Sequence[Made], count: int, concurrency: int) -> float:
        """Seconds to send the same requests, about new problems, without waiting for a reply that they depend on."""
        numbers = sorted({int(number) for one in made for number in _numbers(one.call)})
        olds, news = [problems(n, 1)[0] for n in numbers], problems(self.next, count)
        self.next += count
        texts = {_tag(int(old.id)): _tag(int(new.id)) for old, new in zip(olds, news, strict=True)}
        images = {old.images[0].sha256: new.images[0] for old, new in zip(olds, news, strict=True)}
        calls = [moved(one.call, texts, images) for one in made]
        room = asyncio.Semaphore(concurrency)

        async def one(call: Call) -> None:
            async with room:
                model = self.servers[0] if call.slot == "reasoner" else self.servers[-1]
                reply = await model.complete(call)
            if reply.error:
                raise ModelFailed(f"a request that was good before failed when sent again: {reply.error}")

        began = perf_counter()
        await asyncio.gather(*map(one, calls))
        return perf_counter() - began

    async def hits(self, made: Sequence[Made]) -> Figures:
        """Of the reasoner's prompt tokens: how many the prefix cache served, and how many it could have.

        That is all whole blocks of the longest prefix that an earlier prompt, or the conversation with its reply, had;
        the server tells the tokens. A prompt's last token is always computed.
        """
        could = cached = 0
        for one in (one for one in made if one.call.slot == "reasoner"):
            messages = [{"role": m.role, "content": m.text} for m in one.call.prompt.messages]
            blocks = list(self._blocks(await self._tokens(messages, True), spare=1))
            known = next((n for n, block in enumerate(blocks) if block not in self.seen), len(blocks))
            could, cached = could + known * self.block_size, cached + one.reply.tokens.cached
            self.seen.update(blocks)
            if one.call.purpose == "generation":
                said = [*messages, {"role": "assistant", "content": one.reply.text}]
                self.seen.update(self._blocks(await self._tokens(said, False)))
        return {"could": could, "cached": cached}

    def _blocks(self, tokens: Sequence[int], spare: int = 0) -> Iterator[int]:
        chain = 0
        for start in range(0, len(tokens) - spare - self.block_size + 1, self.block_size):
            chain = hash((chain, *tokens[start : start + self.block_size]))
            yield chain

    async def version(self) -> str:
        """The version that the reasoner's server tells, as vLLM does; empty where it tells none."""
        base = urlsplit(self.servers[0].capabilities().model.partition("@")[2].partition("#")[0])
        response = await self.http.get(f"{base.scheme}://{base.netloc}/version")
        return str(response.json()["version"]) if response.is_success else ""

    async def _tokens(self, messages: list[dict[str, str]], prompts: bool) -> list[int]:
        """The server's own tokens of a conversation; `prompts`: with what invites the reply."""
        model, _, base = self.servers[0].capabilities().model.removeprefix("openai:").partition("@")
        parts = urlsplit(base.partition("#")[0])
        body = {"model": model, "messages": messages, "add_generation_prompt": prompts}
        response = await self.http.post(f"{parts.scheme}://{parts.netloc}/tokenize", json=body)
        tokens: list[int] = json.loads(response.raise_for_status().content)["tokens"]
        return tokens


def _numbers(call: Call) -> Iterator[str]:
    for message in call.prompt.messages:
        for after in message.text.split("in scene ")[1:]:
            yield after[:6]


def _figures(results: Sequence[Result], made: Sequence[Made], seconds: float) -> Figures:
    """What a block took; tokens are the reasoner's, for it is its prompts that the rounds make long."""
    reasoner = [one.reply.tokens for one in made if one.call.slot == "reasoner"]
    return {
        "problems": len(results),
        "seconds": seconds,
        "calls": len(made),
        "prompt": sum(tokens.prompt for tokens in reasoner),
        "cached": sum(tokens.cached for tokens in reasoner),
        "completion": sum(tokens.completion for tokens in reasoner),
        "looks": sum(result.usage.looks for result in results),
        "generations": max(result.usage.generations / len(result.rounds) for result in results),
        "reasks": sum(result.usage.reasks for result in results),
    }
