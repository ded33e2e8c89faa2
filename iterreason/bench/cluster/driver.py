"""Benchmark runs past one machine: Ray Data hands the problems to workers, this process alone writes.

Back-pressure, retries, autoscaling and the loss of nodes are Ray's; that nothing is lost or counted twice is checked
here, by key, whatever Ray did.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from iterreason.bench.cluster.connection import connected
from iterreason.bench.cluster.worker import COLUMN, Attempts, CannotWork, Order, Worker, pack
from iterreason.bench.solving import Done, Job, Setting
from iterreason.config import choose_models
from iterreason.errors import Failure, Misuse, ModelFailed
from iterreason.extras import needed
from iterreason.models import Model
from iterreason.opening import Answerers, Wanted, each_answerer
from iterreason.prompts import one_line

_PARCELS = 4  # under way at once in a worker: while the last problems of one end, others are solved
_AHEAD = 256  # results that may wait for this process to write them
_IN_PROCESS = ("hf", "vllm")  # models of these schemes want a GPU where there is one

_IN_VAIN = 2  # passes over the cluster without one result, after which a run ends

Solving = Callable[[Iterable[Job], Setting], AsyncGenerator[Done, None]]


class _Broken(Failure):
    """Ray gave up."""


@contextmanager
def on_cluster(
    address: str, reasoner: Wanted, answerer: Answerers, cache: Path | None = None, concurrency: int = 32
) -> Iterator[Solving]:
    """Connect to a Ray cluster; gives what solves problems there, for `evaluate`.

    address: as for `ray.init`: HOST:PORT; `auto`, the cluster that this machine is a node of; `local`, one of this
    machine alone that ends with the run; empty: `RAY_ADDRESS`, else as `auto`, else as `local`.
    reasoner, answerer: URIs that hold on every node. cache: a file on each node. concurrency: problems in flight at
    most in each worker.
    Raises MissingExtra, Misuse, Failure where the cluster cannot be reached.
    """
    needed("ray.data", "ray", "runs on a Ray cluster")
    if address.startswith("ray://"):
        raise Misuse(
            f"--ray {address}: a Ray client cannot do this; start the run on a node of the cluster with --ray auto"
        )
    others = each_answerer(answerer)
    if isinstance(reasoner, Model) or any(isinstance(wanted, Model) for wanted in others):
        raise Misuse("workers open the models themselves: name them by URI for a run on a Ray cluster")
    first, *rest = (wanted if isinstance(wanted, str) else None for wanted in others)
    chosen = choose_models(reasoner, first)
    uris = _everywhere(chosen.reasoner), tuple(_everywhere(uri) for uri in (chosen.answerer, *rest) if uri)
    with connected(address):
        attempts = _count_attempts()
        yield lambda jobs, setting: solve_on_cluster(
            jobs, Order(setting, *uris, cache.absolute() if cache else None, concurrency, attempts)
        )


async def solve_on_cluster(jobs: Iterable[Job], order: Order) -> AsyncGenerator[Done, None]:
    """Solve problems on the connected cluster; gives each once, as its parcel ends.

    What a lost node takes with it is solved again by Ray; what is still missing at the end, or when Ray gives up, is
    handed out anew as long as that brings results. Raises ModelFailed where a worker cannot open the models, Failure
    where the cluster fails.
    """
    left = {(job.item.id, job.seed): job for job in jobs}
    failed, in_vain = Failure("the Ray cluster gave no result; run the same command again to go on"), 0
    while left:
        before = len(left)
        try:
            async with aclosing(_pass(list(left.values()), order)) as results:
                async for done in results:
                    if left.pop(done.row.key, None):
                        yield done
        except _Broken as error:
            failed = error
        in_vain = in_vain + 1 if len(left) == before else 0
        if in_vain == _IN_VAIN:
            raise failed


def parcels(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Jobs in parcels of at least `size` (the last may have fewer): those about one image stay in one parcel.

    More than ten times `size` about one image are cut apart.
    """
    parcel: list[Job] = []
    for _, group in groupby(jobs, key=lambda job: job.item.group):
        for job in group:
            if len(parcel) >= 10 * size:
                yield parcel
                parcel = []
            parcel.append(job)
        if len(parcel) >= size:
            yield parcel
            parcel = []
    if parcel:
        yield parcel


# ------------------------------------------------------------------ one pass over the cluster


async def _pass(jobs: Sequence[Job], order: Order) -> AsyncGenerator[Done, None]:
    """Hand all jobs out once, and give what comes back."""
    results = _Results(asyncio.get_running_loop())
    thread = threading.Thread(target=results.take, args=(jobs, order), name="iterreason-ray", daemon=True)
    thread.start()
    try:
        while (value := await results.next()) is not None:
            if isinstance(value, CannotWork):
                raise ModelFailed(f"a worker on node {value.node} cannot work: {value.why}")
            if isinstance(value, BaseException):
                raise _explained(value)
            yield value
    finally:
        results.stopped.set()


@dataclass(slots=True)
class _Results:
    """What the thread that waits for Ray hands to the event loop, a bounded number ahead."""

    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AHEAD))
    stopped: threading.Event = field(default_factory=threading.Event)

    async def next(self) -> Any:
        """The next result; None at the end, an exception where Ray failed."""
        value = await self.queue.get()
        self.room.release()
        return value

    def take(self, jobs: Sequence[Job], order: Order) -> None:
        """In a thread of its own: have the jobs done and put what comes of them."""
        try:
            batches = _dataset(jobs, order).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
            for batch in batches:
                for value in batch.column(COLUMN):
                    if not self._put(pickle.loads(value.as_py())):
                        return
        except BaseException as error:
            self._put(error)
        else:
            self._put(None)

    def _put(self, value: Any) -> bool:
        """Hand a value over; False once nobody wants it any more."""
        while not self.room.acquire(timeout=0.2):
            if self.stopped.is_set():
                return False
        with suppress(RuntimeError):  # the loop has been closed
            self.loop.call_soon_threadsafe(self.queue.put_nowait, value)
        return not self.stopped.is_set()


def _dataset(jobs: Sequence[Job], order: Order) -> Any:
    """The pipeline: a block a parcel, so that one task of Ray's is one parcel."""
    import ray.data

    at_once = min(_PARCELS, order.concurrency)
    packed = [{COLUMN: pack(parcel)} for parcel in parcels(map(_placed, jobs), order.concurrency // at_once)]
    strategy = ray.data.ActorPoolStrategy(
        max_tasks_in_flight_per_actor=2 * at_once,
        max_concurrent_calls_per_actor=at_once,
        enable_true_multi_threading=True,
    )
    return ray.data.from_items(packed, override_num_blocks=len(packed)).map_batches(
        Worker,
        fn_constructor_args=(order,),
        batch_size=1,
        batch_format="pyarrow",
        compute=strategy,
        num_gpus=1 if _wants_gpu(order) else None,
        num_cpus=None if _wants_gpu(order) else 1,
    )


def _placed(job: Job) -> Job:
    """The job with paths that do not depend on where a process was started."""
    images = tuple(image.absolute() if isinstance(image, Path) else image for image in job.item.images)
    return replace(job, item=replace(job.item, images=images))


def _count_attempts() -> Any:
    """An actor that counts, on this node, without a processor of its own."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Attempts).options(num_cpus=0, scheduling_strategy=here).remote()


def _wants_gpu(order: Order) -> bool:
    """Whether a worker holds a model that a GPU of the cluster can run; else it takes a processor."""
    import ray

    holds = {uri.partition(":")[0] for uri in (order.reasoner, *order.answerers)} & set(_IN_PROCESS)
    return bool(holds and ray.cluster_resources().get("GPU"))


def _everywhere(uri: str) -> str:
    """A model's URI with the path in it, if it is one, made absolute."""
    scheme, _, rest = uri.partition(":")
    path, mark, placing = (rest, "", "") if Path(rest).exists() else rest.partition("?")
    found = scheme in ("scripted", "hf") and Path(path).exists()
    return f"{scheme}:{Path(path).absolute()}{mark}{placing}" if found else uri


def _explained(error: BaseException) -> _Broken:
    import ray.exceptions

    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    while (below := cause.__cause__ or getattr(cause, "cause", None)) is not None:
        cause = below
    return _Broken(
        f"the Ray cluster failed: {one_line(f'{type(cause).__name__}: {cause}')}."
        " All results so far are on disk; run the same command again to go on"
    )
