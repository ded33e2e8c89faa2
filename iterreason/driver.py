"""The one driver of an episode: what is recorded is played back, what is not is made live.

Replay is all recorded; a new run is all live; resume is a recorded prefix and then live; undo is all but the last turn
recorded; a what-if is another policy over the same record.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from iterreason.calls import Call, Event, Reply, Returned, Turn
from iterreason.errors import NotRecorded
from iterreason.loop import Episode
from iterreason.records import Result

T = TypeVar("T")
Live = Callable[[Turn], Awaitable[Returned]]
OnEvents = Callable[[tuple[Event, ...]], None]
OnReturned = Callable[[Turn, Returned], None]


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """A turn that was made before: the keys of its calls, and what came of them."""

    keys: tuple[str, ...]
    returned: Returned


async def drive(
    running: Episode,
    recorded: Sequence[RecordedTurn] = (),
    live: Live | None = None,
    *,
    on_events: OnEvents | None = None,
    on_returned: OnReturned | None = None,
) -> Result:
    """Drive an episode to its result.

    recorded: turns to play back while their calls match. live: makes the calls of every turn after them.
    on_events: told what has happened, before the turn's calls are made. on_returned: told what came of each turn that
        was made live, so that it can be recorded.
    Raises NotRecorded where a call is neither recorded nor can be made live.
    """
    tape = _Tape(recorded)
    try:
        turn = next(running)
        while True:
            if on_events and turn.events:
                on_events(turn.events)
            returned = tape.play(turn, strict=live is None) if turn.calls else Returned(())
            if returned is None and live is not None:
                returned = await live(turn)
                if on_returned:
                    on_returned(turn, returned)
            assert returned is not None, "a strict tape plays or raises"
            turn = running.send(returned)
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        running.close()


def drive_recorded(running: Episode, recorded: Sequence[RecordedTurn], on_events: OnEvents | None = None) -> Result:
    """Drive an episode from its record alone, with no event loop and no model. Raises NotRecorded."""
    return without_waiting(drive(running, recorded, on_events=on_events))


def without_waiting(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits for anything."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        work.close()
    raise RuntimeError("this coroutine waits for something; run it in an event loop")


class _Tape:
    """Recorded replies by call key, the n-th occurrence for the n-th use."""

    def __init__(self, recorded: Sequence[RecordedTurn]) -> None:
        self._turns = recorded
        self._replies: defaultdict[str, deque[tuple[int, Reply]]] = defaultdict(deque)
        for index, turn in enumerate(recorded):
            for key, reply in zip(turn.keys, turn.returned.replies, strict=True):
                self._replies[key].append((index, reply))

    def play(self, turn: Turn, *, strict: bool) -> Returned | None:
        """The recorded replies of a turn; where one is missing None, or NotRecorded when `strict`."""
        found = []
        for call in turn.calls:
            if not self._replies.get(call.key):
                if strict:
                    raise NotRecorded(_missing(call))
                self._replies.clear()  # from the first unrecorded turn on, all is live
                return None
            found.append(self._replies[call.key].popleft())
        replies = tuple(reply for _, reply in found)
        indices = {index for index, _ in found}
        whole = self._turns[indices.pop()] if len(indices) == 1 else None
        if whole and len(whole.keys) == len(replies):
            return Returned(replies, whole.returned.elapsed, whole.returned.notes)
        return Returned(replies, max(reply.seconds for reply in replies))  # a turn that was never made like this


def _missing(call: Call) -> str:
    said = repr(call.look.question or "caption") if call.look else f"prompt of {call.prompt.length} messages"
    return (
        f"the trace holds no reply for this {call.purpose} call to {call.slot} ({said}, key {call.key[:12]})."
        " It was recorded with another policy, version or problem, or stopped before this call; run it with models."
    )
