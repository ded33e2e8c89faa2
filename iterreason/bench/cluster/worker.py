"""What runs on the nodes of a Ray cluster: opens the models once, solves parcels of jobs, gives back what came of them.

A failure to open the models is data too: raised in an actor's constructor it would be tried again for ever.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason._version import __version__
from iterreason.background import Background
from iterreason.bench.solving import Done, Job, Setting, failed_row, solve
from iterreason.engine import collect_rarely
from iterreason.errors import IterReasonError, ModelFailed
from iterreason.opening import Opened, open_models
from iterreason.plan import Plan
from iterreason.prompts import one_line

if TYPE_CHECKING:
    import pyarrow

COLUMN = "parcel"
# What a process has died of so often is not the fault of its node: a damaged image that crashes a decoder, say.
_DEATHS = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker needs to know.

    reasoner, answerers: the models' URIs. cache: the reply cache's file on the worker's node. concurrency: problems in
    flight at most. attempts: a handle of the actor `Attempts`.
    """

    setting: Setting
    reasoner: str
    answerers: tuple[str, ...]
    cache: Path | None
    concurrency: int
    attempts: Any
    version: str = __version__


@dataclass(frozen=True, slots=True)
class CannotWork:
    """Why a worker can solve nothing, and on which node it is."""

    node: str
    why: str


class Attempts:
    """An actor that counts how often something was begun, since what kills a worker's process can keep no count."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begun(self, what: str) -> int:
        """How often this was begun without coming to an end."""
        return self._begun[what]

    def begin(self, what: str) -> int:
        """This begins now; how often it was begun before without coming to an end."""
        self._begun[what] += 1
        return self._begun[what] - 1

    def end(self, what: str) -> None:
        """It came to an end, good or bad: nothing was killed."""
        self._begun.pop(what, None)


class Worker:
    """An actor of the cluster: open models and an engine, for as many parcels at once as Ray hands it."""

    def __init__(self, order: Order) -> None:
        collect_rarely()
        self._setting, self._attempts = order.setting, order.attempts
        self._background = Background()
        self._alone = threading.Lock()
        self._room = asyncio.Semaphore(order.concurrency)
        self._opened: Opened | None = None
        self._why = ""
        try:
            with self._counted(_actor()) as deaths:
                if deaths >= _DEATHS:
                    raise ModelFailed(f"the process has died {deaths} times while it opened the models")
                self._opened = self._background.run(_open(order))
        except IterReasonError as error:
            self._why = str(error)
        except Exception as error:  # a backend's own trouble, such as a damaged file of weights
            self._why = one_line(f"{type(error).__name__}: {error}")

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Solve the one parcel of a batch; one that the process has died of before is taken apart."""
        import ray

        jobs: list[Job] = pickle.loads(batch.column(COLUMN)[0].as_py())
        if self._opened is None:
            return table([CannotWork(_node(), self._why)])
        parcel = f"parcel of {self._name(jobs[0])}"
        if not ray.get(self._attempts.begun.remote(parcel)):
            with self._counted(parcel):
                return table(self._background.submit(self._solve(jobs, self._opened)).result())
        with self._alone:
            return table([self._carefully(job, self._opened) for job in jobs])

    def _carefully(self, job: Job, opened: Opened) -> Done:
        """Solve a problem alone; what kills the process each time is that problem's outcome, not the run's end."""
        with self._counted(self._name(job)) as deaths:
            if deaths >= _DEATHS:
                why = f"the worker's process died {deaths} times over this problem"
                return Done(failed_row(job, self._setting, why))
            return self._background.submit(self._solve([job], opened)).result()[0]

    def _name(self, job: Job) -> str:
        task, policy = self._setting.names
        return f"problem {job.item.id} of {task}, seed {job.seed}, under {policy}"

    @contextmanager
    def _counted(self, what: str) -> Iterator[int]:
        """Count something as begun, until it comes to an end; gives how often it was begun and never ended."""
        import ray

        deaths: int = ray.get(self._attempts.begin.remote(what))
        try:
            yield deaths
        finally:
            self._attempts.end.remote(what)

    async def _solve(self, jobs: Sequence[Job], opened: Opened) -> list[Done]:
        async def one(job: Job) -> Done:
            async with self._room:
                return await solve(job, opened.engine, self._setting)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(job)) for job in jobs]
        return [task.result() for task in tasks]


def table(values: Sequence[Any]) -> pyarrow.Table:
    """Values as one column of bytes, a row each."""
    import pyarrow

    return pyarrow.table({COLUMN: pyarrow.array(map(pack, values), type=pyarrow.binary())})


def pack(value: Any) -> bytes:
    """A value as bytes; functions in it, such as one that draws an image, travel too."""
    from ray import cloudpickle

    packed: bytes = cloudpickle.dumps(value)
    return packed


async def _open(order: Order) -> Opened:
    """The models, if this node's are those of the run."""
    if order.version != __version__:
        raise ModelFailed(f"iterreason {__version__} is installed there, the run needs {order.version}")
    plan = order.setting.plan
    opened = await open_models(
        order.reasoner, order.answerers, [plan.named], cache=order.cache, concurrency=order.concurrency
    )
    here = opened.fit(plan.named, all_rounds=plan.all_rounds)
    if replace(here, same=plan.same, reliability=plan.reliability) == plan:
        return opened
    await opened.close()
    raise ModelFailed(f"the models there are {_models(here)}, not those of the run: {_models(plan)}")


def _models(plan: Plan) -> str:
    return " and ".join(plan.models) + f" ({plan.confidence})"


def _actor() -> str:
    """This actor's id, which stays the same when Ray starts it again."""
    import ray

    return str(ray.get_runtime_context().get_actor_id())


def _node() -> str:
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())
