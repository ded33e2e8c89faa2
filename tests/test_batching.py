"""Calls that wait run together; nothing that goes wrong leaves a waiter or a thread behind."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from iterreason.calls import EMPTY_PROMPT, Call, Reply, Sample, Sampling
from iterreason.models.batching import CLOSED, Batcher, one_line


def call(text: str, **options: object) -> Call:
    return Call("reasoner", "generation", EMPTY_PROMPT.plus("user", text), **options)  # type: ignore[arg-type]


def said(call: Call) -> str:
    return call.prompt.messages[0].text


class Echo:
    """Replies with the call's own text and remembers its batches; `gate` holds the first batch back."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.batches: list[list[str]] = []
        self.started = threading.Event()
        self.gate = gate

    def __call__(self, calls: Sequence[Call]) -> list[Reply]:
        self.batches.append([said(c) for c in calls])
        self.started.set()
        if self.gate:
            assert self.gate.wait(10)
        return [Reply((Sample(said(c)),)) for c in calls]


@pytest.fixture(autouse=True)
def _others() -> None:
    """Other tests of this process may have left a model open; its thread is not one of ours."""
    OTHERS[:] = threading.enumerate()


OTHERS: list[threading.Thread] = []


def batch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "iterreason-batches" and t not in OTHERS]


def run_closed(batcher: Batcher, work: Callable[[], Awaitable[object]]) -> None:
    async def main() -> None:
        try:
            await work()
        finally:
            await batcher.close()

    asyncio.run(main())
    assert not batch_threads(), "a thread was left behind"


def test_calls_made_at_once_run_together_up_to_the_limit() -> None:
    """Everything that waits runs in one batch, in order, and every call gets its own reply."""
    echo = Echo()
    batcher = Batcher(echo, limit=4)

    async def work() -> None:
        replies = await asyncio.gather(*(batcher.submit(call(str(n))) for n in range(10)))
        assert [r.text for r in replies] == [str(n) for n in range(10)]

    run_closed(batcher, work)
    assert echo.batches == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]


def test_calls_of_different_groups_do_not_mix() -> None:
    """A batch holds calls of one group only; the other group follows."""
    echo = Echo()
    batcher = Batcher(echo, limit=8, group=lambda c: bool(c.choices))

    async def work() -> None:
        await asyncio.gather(*(batcher.submit(call(str(n), choices=("A", "B") if n % 2 else ())) for n in range(4)))

    run_closed(batcher, work)
    assert echo.batches == [["0", "2"], ["1", "3"]]


def test_a_cancelled_waiter_is_dropped_before_it_runs() -> None:
    """Work that nobody waits for any more is not done."""
    echo = Echo(threading.Event())
    batcher = Batcher(echo, limit=8)

    async def work() -> None:
        first = asyncio.create_task(batcher.submit(call("first")))
        await asyncio.to_thread(echo.started.wait, 10)
        late = [asyncio.create_task(batcher.submit(call(name))) for name in ("dropped", "kept")]
        await asyncio.sleep(0.01)
        late[0].cancel()
        await asyncio.sleep(0.01)
        assert echo.gate
        echo.gate.set()
        assert (await first).text == "first"
        assert (await late[1]).text == "kept"
        with pytest.raises(asyncio.CancelledError):
            await late[0]

    run_closed(batcher, work)
    assert echo.batches == [["first"], ["kept"]]


def test_a_running_batch_learns_that_nobody_waits() -> None:
    """`abandoned` tells a long run to stop once its last waiter has gone."""
    seen: list[bool] = []
    started = threading.Event()

    def run(calls: Sequence[Call]) -> list[Reply]:
        started.set()
        seen.append(batcher.abandoned)
        give_up = time.monotonic() + 10
        while not batcher.abandoned and time.monotonic() < give_up:
            time.sleep(0.001)
        seen.append(batcher.abandoned)
        raise RuntimeError("stopped")

    batcher = Batcher(run, limit=8)

    async def work() -> None:
        task = asyncio.create_task(batcher.submit(call("x")))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        await asyncio.wait([task])

    run_closed(batcher, work)
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("out of\n  memory"), "MemoryError: out of memory"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 1000), "RuntimeError: " + "x" * 285 + "…"),
    ],
)
def test_an_exception_becomes_each_callers_error(error: BaseException, reason: str) -> None:
    """A crash of a batch is that batch's error in one line; the next batch runs."""
    crashes = [error]

    def run(calls: Sequence[Call]) -> list[Reply]:
        if crashes:
            raise crashes.pop()
        return [Reply((Sample("fine"),)) for _ in calls]

    batcher = Batcher(run, limit=8)

    async def work() -> None:
        replies = await asyncio.gather(batcher.submit(call("a")), batcher.submit(call("b")))
        assert [r.error for r in replies] == [reason, reason]
        assert (await batcher.submit(call("c"))).text == "fine"

    run_closed(batcher, work)


def test_a_wrong_number_of_replies_is_an_error() -> None:
    """Replies that cannot be matched to their calls are not guessed at."""
    batcher = Batcher(lambda calls: [Reply()], limit=8)

    async def work() -> None:
        replies = await asyncio.gather(batcher.submit(call("a")), batcher.submit(call("b")))
        assert {r.error for r in replies} == {"1 replies came for 2 calls"}

    run_closed(batcher, work)


def test_close_fails_what_waits_and_is_prompt() -> None:
    """Closing answers the waiting with an error, lets the running batch see it, and may be done twice."""
    started = threading.Event()

    def run(calls: Sequence[Call]) -> list[Reply]:
        started.set()
        while not batcher.abandoned:
            time.sleep(0.001)
        raise RuntimeError("stopped")

    batcher = Batcher(run, limit=1)

    async def main() -> None:
        tasks = [asyncio.create_task(batcher.submit(call(str(n)))) for n in range(3)]
        await asyncio.to_thread(started.wait, 10)
        began = time.monotonic()
        await batcher.close()
        await batcher.close()
        assert time.monotonic() - began < 1
        assert [(await task).error for task in tasks] == ["RuntimeError: stopped", CLOSED, CLOSED]
        assert (await batcher.submit(call("late"))).error == CLOSED

    asyncio.run(main())
    assert not batch_threads()


def test_an_unused_batcher_has_no_thread() -> None:
    """The thread starts with the first call."""
    batcher = Batcher(Echo(), limit=1)
    run_closed(batcher, lambda: asyncio.sleep(0))


def test_calls_from_several_event_loops_share_batches() -> None:
    """Each reply finds the loop that its call came from."""
    echo = Echo(threading.Event())
    batcher = Batcher(echo, limit=8)
    texts: dict[str, str] = {}

    def one_loop(name: str) -> None:
        async def ask() -> None:
            texts[name] = (await batcher.submit(call(name))).text

        asyncio.run(ask())

    threads = [threading.Thread(target=one_loop, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    assert echo.started.wait(10)
    assert echo.gate
    echo.gate.set()
    for thread in threads:
        thread.join(10)
    asyncio.run(batcher.close())
    assert texts == {str(n): str(n) for n in range(4)}
    assert not batch_threads()


def test_a_loop_that_ended_harms_nobody() -> None:
    """A reply to a loop that has closed is dropped; the batcher goes on."""
    echo = Echo(threading.Event())
    batcher = Batcher(echo, limit=8)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit(call("left")), 0.05)

    asyncio.run(leave())
    assert echo.gate
    echo.gate.set()

    async def work() -> None:
        assert (await batcher.submit(call("next", sampling=Sampling(n=1)))).text == "next"

    run_closed(batcher, work)


def test_a_reason_is_one_line() -> None:
    """Errors of any shape fit one line of a report."""
    assert one_line(ValueError("a\nb\t c")) == "ValueError: a b c"
