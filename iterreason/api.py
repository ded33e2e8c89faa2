"""The library's front door: `reason()` for one question, `Reasoner` for many over the same open models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, nullcontext
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from iterreason.background import Background, aside
from iterreason.calls import Event
from iterreason.driver import OnEvents, OnReturned
from iterreason.errors import BadProblem, EpisodeFailed, IterReasonError, Misuse
from iterreason.exemplars import read_exemplars, with_exemplars
from iterreason.folding import same_text
from iterreason.images import load_image
from iterreason.memory import EMPTY, Memory, SameText
from iterreason.models import Model
from iterreason.opening import Answerers, Opened, Wanted, each_answerer, open_models
from iterreason.plan import Plan
from iterreason.policy import find_policy
from iterreason.recording import EpisodesFile, open_trace
from iterreason.records import Exemplar, Image, Problem, Result
from iterreason.tools import Tool
from iterreason.trace import EpisodeRecorder, read_trace

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image as Pixels

    from iterreason.probing import Probe

    Source = str | Path | bytes | Image | Pixels | numpy.ndarray[Any, Any]
    Sources = Source | Sequence[Source]

T = TypeVar("T")
OnResult = Callable[[int, Result], None]


def make_problem(
    image: Sources,
    question: str,
    choices: Sequence[str] = (),
    *,
    context: str = "",
    allow_url: bool = False,
    id: str = "",
) -> Problem:
    """A problem from whatever names its image(s); raises BadImage, BadProblem."""
    if isinstance(choices, str) or not all(isinstance(choice, str) for choice in choices):
        raise BadProblem(f"choices must be a list of texts, not {choices!r}")
    sources = cast("Sequence[Source]", image if isinstance(image, list | tuple) else [image])
    images = tuple(load_image(source, allow_url=allow_url) for source in sources)
    return Problem(images, question, tuple(choices), context, id=id)


class Reasoner:
    """A reasoner, an answerer and a policy, kept open over many problems.

    reasoner, answerer: model URIs, or objects that follow the `Model` protocol; `answerer="same"` has one VLM play both
        roles. Several answerers, in a list: the next is asked where the one before is unsure or contradicts the memory.
        Where none is named, see docs/library.md.
    reliability: a file of how often each answerer is right, by kind of question; see docs/answerers.md.
    policy: a shipped name, or the path of a TOML file. concurrency: episodes in flight at most, ≥ 1.
    tools: what the reasoner may use beside the policy's own: `ocr`, `detect:PATH-OR-ID`, `crop`, or objects that follow
        the `Tool` protocol; see docs/tools.md.
    cache: an SQLite file of replies; none by default. seed: for models that sample.
    same: whether two questions, or two answers, are the same; folds case, punctuation, articles, number words.
    attribution: weigh each piece of evidence at the end, for `Result.attribution`; its calls are counted apart.
    exemplars: a pool for a policy that shows worked ones, or the JSONL file that holds it; see docs/policies.md.

    Opens its models at the first use; use it as a context manager, or `close()` it. A model that came as an object is
    its owner's, and stays open.
    """

    def __init__(
        self,
        reasoner: str | Model | None = None,
        answerer: Answerers = None,
        *,
        policy: str | Path = "evidence",
        reliability: str | Path | None = None,
        tools: Sequence[str | Tool] = (),
        concurrency: int = 32,
        cache: str | Path | None = None,
        seed: int | None = None,
        same: SameText = same_text,
        attribution: bool = False,
        exemplars: str | Path | Sequence[Exemplar] = (),
    ) -> None:
        if concurrency < 1:
            raise Misuse(f"concurrency must be at least 1, not {concurrency}")
        if isinstance(tools, str):
            raise Misuse(f"tools must be a list, not {tools!r}")
        self._named, self._same, self._tools = find_policy(str(policy)), same, tuple(tools)
        self._wanted, self._reliability = (reasoner, each_answerer(answerer)), reliability
        self._concurrency, self._cache_path, self._seed = concurrency, cache, seed
        self._attribution = attribution
        self._background: Background | None = None
        self._open: tuple[Opened, Plan] | None = None
        self._pool = read_exemplars(Path(exemplars)) if isinstance(exemplars, str | Path) else tuple(exemplars)
        self._busy = 0  # episodes of the one-line call in the making

    # -------------------------------------------------------------- one problem

    def reason(
        self,
        image: Sources,
        question: str,
        choices: Sequence[str] = (),
        *,
        context: str = "",
        allow_url: bool = False,
        start: Memory = EMPTY,
        trace: str | Path | None = None,
        on_events: OnEvents | None = None,
    ) -> Result:
        """Answer a question about one or more images.

        image: a path, encoded bytes, a PIL image, a numpy array, an `Image`, or a list of these; a URL only with
            `allow_url`. choices: the answers to choose from; none for an open question.
        start: what is already known. trace: a file to record the episode in; one that a killed run left is resumed.
        on_events: called with each turn's events, from another thread.
        Raises BadProblem, BadImage; EpisodeFailed where the episode ended with an error.
        """
        problem = make_problem(image, question, choices, context=context, allow_url=allow_url)
        return self._run(self._one(problem, start, trace, on_events))

    async def areason(
        self,
        image: Sources,
        question: str,
        choices: Sequence[str] = (),
        *,
        context: str = "",
        allow_url: bool = False,
        start: Memory = EMPTY,
        trace: str | Path | None = None,
        on_events: OnEvents | None = None,
    ) -> Result:
        """`reason` for a running event loop; cancelling it cancels the calls."""
        problem = await aside(lambda: make_problem(image, question, choices, context=context, allow_url=allow_url))
        return await asyncio.wrap_future(self._start().submit(self._one(problem, start, trace, on_events)))

    def solve(self, problem: Problem, *, trace: str | Path | None = None, on_events: OnEvents | None = None) -> Result:
        """`reason` for a problem made beforehand."""
        return self._run(self._one(problem, EMPTY, trace, on_events))

    def stream(self, problem: Problem) -> Iterator[Event | Result]:
        """The events of an episode as they happen, then its result (also where it ended with an error)."""
        queue: SimpleQueue[Event | Result | BaseException] = SimpleQueue()

        async def work() -> None:
            try:
                opened, plan = await self._opened()
                (shown,) = await self._shown([problem], plan)
                queue.put(await opened.engine.run(shown, plan, seed=self._seed, on_events=_put_each(queue)))
            except BaseException as error:
                queue.put(error)
                raise

        future = self._start().submit(work())
        try:
            while True:
                item = queue.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if isinstance(item, Result):
                    return
        finally:
            future.cancel()

    # -------------------------------------------------------------- many problems

    def batch(
        self,
        problems: Sequence[Problem],
        *,
        trace: str | Path | None = None,
        on_result: OnResult | None = None,
    ) -> list[Result]:
        """Results in the order of the problems; one that failed has its `error` set, and the others go on.

        trace: a file that gets a line, with the whole episode, as each ends.
        on_result: called with (index, result) as each ends, from another thread; what it raises ends the batch.
        """
        return self._run(self._many(problems, trace, on_result))

    async def _many(
        self, given: Sequence[Problem], trace: str | Path | None, on_result: OnResult | None
    ) -> list[Result]:
        opened, plan = await self._opened()
        problems = await self._shown(given, plan)
        results: dict[int, Result] = {}
        recorders: dict[int, EpisodeRecorder] = {}

        def recorder(index: int) -> OnReturned:
            recorders[index] = EpisodeRecorder(problems[index], plan, EMPTY, self._seed)
            return recorders[index].turn

        with EpisodesFile(Path(trace)) if trace else nullcontext() as file:
            episodes = opened.engine.run_many(problems, plan, seed=self._seed, recorder=recorder if file else None)
            async with aclosing(episodes):
                async for index, result in episodes:
                    results[index] = result
                    if file:
                        file.append(recorders.pop(index).line(result))
                    if on_result:
                        on_result(index, result)
        return [results[index] for index in range(len(problems))]

    async def _shown(self, problems: Sequence[Problem], plan: Plan) -> Sequence[Problem]:
        """The problems with the exemplars that the policy shows; to compare images takes a while."""
        if not plan.policy.exemplars:
            return problems
        return await aside(lambda: [with_exemplars(p, plan.policy, self._pool, self._seed) for p in problems])

    # -------------------------------------------------------------- does the image matter

    def probe(self, problem: Problem, *, swap: Sequence[Image] = ()) -> Probe:
        """Ask the same about a blank image, another one and the middle of its own, and see whether the answer moves.

        swap: the other image(s), one or as many as the problem has; by default a drawn scene. Raises Misuse.
        """
        from iterreason.demo import scene_images
        from iterreason.probing import compared, varied

        own = {image.sha256 for image in problem.images}
        other = next(image for image in scene_images() if image.sha256 not in own)
        variants = varied(problem, swap or (other,))
        return compared(variants, self.batch([problem, *variants.values()]), self._same)

    # -------------------------------------------------------------- opening and closing

    def open(self) -> Plan:
        """Open the models now rather than at the first use; gives the policy as resolved against them."""
        return self._run(self._opened())[1]

    def close(self) -> None:
        """Give back models, connections and threads; safe to call twice."""
        if self._background is not None and self._background.usable:
            try:
                if self._open is not None:
                    self._background.run(self._open[0].close())
            finally:
                self._background.close()
        self._background = self._open = None

    @property
    def busy(self) -> bool:
        """Whether an episode is in the making."""
        return self._busy > 0

    def __enter__(self) -> Reasoner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> Background:
        if self._background is None or not self._background.usable:
            self._background, self._opening, self._open = Background(), asyncio.Lock(), None
        return self._background

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._start().run(work)

    async def _one(
        self, problem: Problem, start: Memory, trace: str | Path | None, on_events: OnEvents | None
    ) -> Result:
        self._busy += 1
        try:
            return await self._episode(problem, start, trace, on_events)
        finally:
            self._busy -= 1

    async def _episode(
        self, given: Problem, start: Memory, trace: str | Path | None, on_events: OnEvents | None
    ) -> Result:
        opened, plan = await self._opened()
        (problem,) = await self._shown([given], plan)
        file, recorded = open_trace(trace, problem, plan, start, self._seed)
        result = None
        try:
            result = await opened.engine.run(
                problem,
                plan,
                start=start,
                seed=self._seed,
                recorded=recorded,
                on_events=on_events,
                on_returned=file.turn if file else None,
            )
        finally:
            if file:
                file.close(result)
        if result.error is not None:
            raise EpisodeFailed(result)
        return result

    async def _opened(self) -> tuple[Opened, Plan]:
        async with self._opening:
            if self._open is None:
                opened = await open_models(
                    *self._wanted,
                    [self._named],
                    cache=self._cache_path,
                    concurrency=self._concurrency,
                    reliability=self._reliability,
                    tools=self._tools,
                )
                try:
                    self._open = opened, opened.fit(self._named, same=self._same, attribution=self._attribution)
                except IterReasonError:
                    await opened.close()
                    raise
        return self._open


def _put_each(queue: SimpleQueue[Any]) -> OnEvents:
    def put(events: tuple[Event, ...]) -> None:
        for event in events:
            queue.put(event)

    return put


# ------------------------------------------------------------------ the one-line call

_shared: dict[tuple[Any, ...], Reasoner] = {}
_sharing = Lock()


def _shared_reasoner(
    reasoner: Wanted, answerer: Answerers, policy: str | Path, seed: int | None, tools: Sequence[str | Tool]
) -> Reasoner:
    """The Reasoner of the last such call, its models still open; others that nobody waits for are closed."""
    named = find_policy(str(policy))  # by its text: an edited file is another policy
    wanted = (reasoner, *each_answerer(answerer), *tools)
    models = tuple(m if m is None or isinstance(m, str) else id(m) for m in wanted)
    key = (*models, named.name, named.hash, seed)
    with _sharing:
        for other in [k for k, kept in _shared.items() if k != key and not kept.busy]:
            _shared.pop(other).close()
        if key not in _shared:
            _shared[key] = Reasoner(reasoner, answerer, policy=policy, tools=tools, seed=seed)
        return _shared[key]


def reason(
    image: Sources,
    question: str,
    choices: Sequence[str] = (),
    *,
    context: str = "",
    policy: str | Path = "evidence",
    reasoner: str | Model | None = None,
    answerer: Answerers = None,
    tools: Sequence[str | Tool] = (),
    seed: int | None = None,
    allow_url: bool = False,
    trace: str | Path | None = None,
) -> Result:
    """Answer a question about one or more images; see `Reasoner` and `Reasoner.reason` for the arguments.

    The models stay open for the next call that names the same ones.
    """
    shared = _shared_reasoner(reasoner, answerer, policy, seed, tools)
    return shared.reason(image, question, choices, context=context, allow_url=allow_url, trace=trace)


async def areason(
    image: Sources,
    question: str,
    choices: Sequence[str] = (),
    *,
    context: str = "",
    policy: str | Path = "evidence",
    reasoner: str | Model | None = None,
    answerer: Answerers = None,
    tools: Sequence[str | Tool] = (),
    seed: int | None = None,
    allow_url: bool = False,
    trace: str | Path | None = None,
) -> Result:
    """`reason` for a running event loop."""
    shared = _shared_reasoner(reasoner, answerer, policy, seed, tools)
    return await shared.areason(image, question, choices, context=context, allow_url=allow_url, trace=trace)


def replay(path: str | Path, *, policy: str | Path | None = None) -> Result:
    """The result of a recorded episode again, with no model; with another policy: what it would have been.

    Raises BadTrace; NotRecorded where the other policy needs a call that the trace does not hold.
    """
    return read_trace(Path(path)).replay(find_policy(str(policy)) if policy else None)
