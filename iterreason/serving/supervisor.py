"""Keeps servers running: starts them, waits until they answer, starts those anew that die, ends them all."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from httpx2 import AsyncClient, HTTPError

from iterreason.errors import Misuse, ServerFailed
from iterreason.models.failures import tidy
from iterreason.serving.launch import Launch

Tell = Callable[[str], None]
TAIL_LINES = 12  # of a log, shown where its server failed


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, and how often.

    start: for a server to answer; weights may have to be fetched. news: between lines about a start.
    check: between looks at one that answers. misses: failed looks in a row after which it counts as hung.
    first, most: the pause before a restart, doubled with each. tries: restarts before it is given up.
    steady: after answering so long, its earlier deaths are forgotten. end: for a server to end by itself.
    """

    start: float = 3_600.0
    check: float = 5.0
    misses: int = 6
    first: float = 1.0
    most: float = 60.0
    tries: int = 5
    steady: float = 300.0
    end: float = 20.0
    news: float = 10.0


class Supervisor:
    """Runs servers until `stop` is called; `tell` gets a line for whatever happens.

    Servers that share a GPU start one after another, since each measures what memory is free while it starts.
    """

    def __init__(self, launches: Sequence[Launch], tell: Tell, patience: Patience = Patience()) -> None:
        self._launches, self._tell, self._patience = launches, tell, patience
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._turns = {gpu: asyncio.Lock() for launch in launches for gpu in launch.gpus}

    def stop(self) -> None:
        """End all servers; a second call does not wait for them to end by themselves."""
        (self._hurried if self._stopping.is_set() else self._stopping).set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Start all servers, call `ready` once they answer, and keep them so until `stop`. None is left running.

        Raises Misuse where a port is taken, ServerFailed where one does not start or keeps dying.
        """
        for launch in self._launches:
            _check_port(launch)
            launch.log.unlink(missing_ok=True)
        try:
            async with AsyncClient(timeout=5.0, trust_env=False) as client:
                if await self._unless_stopped([self._start(launch, client) for launch in self._launches]):
                    ready()
                    await self._unless_stopped([self._keep(launch, client) for launch in self._launches])
        finally:
            await self._end_all()

    async def _unless_stopped(self, works: Sequence[Coroutine[Any, Any, None]]) -> bool:
        """Whether all work was done before `stop`; what one raises ends the others."""
        tasks = [asyncio.create_task(work) for work in works]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            waited: set[asyncio.Task[Any]] = {*tasks}
            while waited and not stopping.done():
                done, _ = await asyncio.wait({*waited, stopping}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & waited:
                    task.result()
                waited -= done
            return not stopping.done()
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)

    async def _start(self, launch: Launch, client: AsyncClient) -> None:
        """Start a server and wait until it answers."""
        for gpu in sorted(launch.gpus):
            await self._turns[gpu].acquire()
        try:
            await self._start_now(launch, client)
        finally:
            for gpu in launch.gpus:
                self._turns[gpu].release()

    async def _start_now(self, launch: Launch, client: AsyncClient) -> None:
        began = told = monotonic()
        process = await _spawn(launch)
        self._running[launch.role] = process
        self._tell(f"{launch.role}: starting {launch.names[0]} on port {launch.port}; its log is {launch.log}")
        while not await _answers(launch, client):
            if process.returncode is not None:
                raise ServerFailed(f"{launch.role}: vllm ended with code {process.returncode}; {_tail(launch)}")
            if monotonic() - began > self._patience.start:
                raise ServerFailed(f"{launch.role}: no answer in {self._patience.start:.0f} s; {_tail(launch)}")
            if monotonic() - told >= self._patience.news:
                told = monotonic()
                self._tell(f"{launch.role}: {told - began:.0f} s … {_last_line(launch)}")
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), min(0.5, self._patience.check))
        self._tell(f"{launch.role}: answers after {monotonic() - began:.0f} s")

    async def _keep(self, launch: Launch, client: AsyncClient) -> None:
        """Watch a server that answers; start it anew whenever it dies or hangs."""
        deaths, since = 0, monotonic()
        while True:
            why = await self._watch(launch, client)
            deaths = 1 if monotonic() - since > self._patience.steady else deaths + 1
            await self._end(launch)
            while True:
                if deaths > self._patience.tries:
                    raise ServerFailed(f"{launch.role}: {why} once more, after {deaths - 1} restarts; {_tail(launch)}")
                pause = min(self._patience.most, self._patience.first * 2.0 ** (deaths - 1))
                self._tell(f"{launch.role}: {why}; starting it anew in {pause:g} s")
                await asyncio.sleep(pause)
                try:
                    await self._start(launch, client)
                    break
                except ServerFailed as error:
                    await self._end(launch)
                    why, deaths = str(error).partition(": ")[2].partition(";")[0], deaths + 1
            since = monotonic()

    async def _watch(self, launch: Launch, client: AsyncClient) -> str:
        """Why a server is no longer any good."""
        process, missed = self._running[launch.role], 0
        while missed < self._patience.misses:
            with suppress(TimeoutError):
                return f"vllm ended with code {await asyncio.wait_for(process.wait(), self._patience.check)}"
            missed = 0 if await _answers(launch, client) else missed + 1
        return f"vllm hangs: {missed} checks without an answer"

    async def _end_all(self) -> None:
        if any(process.returncode is None for process in self._running.values()):
            self._tell("ending the servers …")
        await asyncio.gather(*(self._end(launch) for launch in self._launches))

    async def _end(self, launch: Launch) -> None:
        """End a server and all its processes: asked first, and then not."""
        if (process := self._running.pop(launch.role, None)) is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            ended, hurried = asyncio.create_task(process.wait()), asyncio.create_task(self._hurried.wait())
            await asyncio.wait([ended, hurried], timeout=self._patience.end, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
        with suppress(ProcessLookupError):  # the engine's own processes may outlive their server
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _spawn(launch: Launch) -> asyncio.subprocess.Process:
    """Start the process in a group of its own: Ctrl-C reaches us alone, and we end the group."""
    try:
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        with launch.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *launch.command, env=launch.environment, stdin=asyncio.subprocess.DEVNULL, stdout=log,
                stderr=asyncio.subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise ServerFailed(f"{launch.role}: cannot start {launch.command[0]}: {error}") from error


async def _answers(launch: Launch, client: AsyncClient) -> bool:
    try:
        return (await client.get(f"{launch.url}/health")).status_code == 200
    except HTTPError:
        return False


def _check_port(launch: Launch) -> None:
    family = socket.AF_INET6 if ":" in launch.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((launch.host, launch.port))
        except OSError as error:
            reason = error.strerror or error
            raise Misuse(f"{launch.role}: cannot listen at {launch.host}, port {launch.port}: {reason}; "
                         "end what runs there, or give another port") from None  # fmt: skip


def _lines(launch: Launch) -> list[str]:
    """The log's last lines, without the key."""
    key = launch.environment.get("VLLM_API_KEY", "")
    with suppress(OSError), Path(launch.log).open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
        text = log.read().decode(errors="replace")
        return [tidy(line, key or "\0") for line in text.splitlines() if line.strip()]
    return []


def _last_line(launch: Launch) -> str:
    return "".join(_lines(launch)[-1:])


def _tail(launch: Launch) -> str:
    shown = "\n".join(f"  {line}" for line in _lines(launch)[-TAIL_LINES:])
    return f"its log {launch.log} ends:\n{shown}" if shown else f"its log {launch.log} is empty"
