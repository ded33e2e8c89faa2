"""Opening the models that policies need, and fitting the policies to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from iterreason.background import aside
from iterreason.cache import Cached, ReplyCache
from iterreason.calls import Capabilities
from iterreason.config import choose_models
from iterreason.engine import Engine
from iterreason.errors import BadConfig, BadTool, Misuse
from iterreason.folding import same_text
from iterreason.memory import SameText
from iterreason.models import BackendRole, Model, open_model
from iterreason.models.paced import Paced
from iterreason.plan import Plan, resolve
from iterreason.policy import NamedPolicy
from iterreason.reliability import FLAT, Reliability, read_reliability
from iterreason.tools import Tool, open_tool, tool_name
from iterreason.tools.spec import ANSWERERS, ToolSpec

Wanted = str | Model | None  # a model as the caller names it; None leaves it to environment, config file and default
Answerers = Wanted | Sequence[Wanted]
WantedTool = str | Tool  # `name`, `name:model`, or an object of the caller's own


@dataclass(frozen=True, slots=True)
class Opened:
    """Open models and the engine over them; `own` are those opened here, `known` what each can do, by slot.

    paced: the models behind their limits of calls in flight, by slot.
    reliability: how often each answerer is right, where that was counted.
    tools: those that are open; given: the names of those that the caller wants beside the policy's own.
    """

    engine: Engine
    known: Mapping[str, Capabilities]
    own: tuple[Model, ...]
    replies: ReplyCache | None
    paced: Mapping[str, Paced]
    reliability: Reliability = FLAT
    tools: tuple[ToolSpec, ...] = ()
    given: tuple[str, ...] = ()

    def fit(
        self, named: NamedPolicy, *, same: SameText = same_text, all_rounds: bool = False, attribution: bool = False
    ) -> Plan:
        """A policy resolved against these models. Raises BadPolicy."""
        lookers = [can for slot, can in self.known.items() if slot.startswith("answerer:")]
        return resolve(
            named,
            self.known.get("reasoner"),
            lookers if named.policy.looks else [],
            same=same,
            all_rounds=all_rounds,
            reliability=self.reliability,
            tools=self.tools,
            given=self.given,
            attribution=attribution,
        )

    def told(self) -> str:
        """How many calls at once each model was given, for whoever watches a run."""
        each = {model: slot.partition(":")[0] for slot, model in self.paced.items()}  # one in two roles is told once
        return "; ".join(f"{role}: {model.told()}" for model, role in each.items())

    async def close(self) -> None:
        """Close what was opened here; a model that came as an object stays open, it is its owner's."""
        for model in self.own:
            await model.close()
        if self.replies:
            self.replies.close()


async def open_models(
    reasoner: Wanted,
    answerer: Answerers,
    policies: Sequence[NamedPolicy],
    *,
    cache: str | Path | None = None,
    concurrency: int = 32,
    reliability: str | Path | None = None,
    tools: Sequence[WantedTool] = (),
) -> Opened:
    """Open the models and tools that the policies need, each once; what is open is closed again if one fails.

    answerer: one, or several, the first of which is asked first. reliability: a file of how often each is right.
    tools: those that the policies' reasoner may use beside the ones that its policy names.
    concurrency: the most episodes in flight, and the most calls at once to one model, ≥ 1.
    Raises UnknownModel, BadTool, MissingExtra, ModelFailed, BadConfig.
    """
    reasons = any(named.policy.reasons for named in policies)
    looks = any(named.policy.looks for named in policies)
    reasoner, answerers = _chosen(reasoner, each_answerer(answerer), reasons, looks)
    counted = read_reliability(Path(reliability)) if reliability else FLAT
    # Opened twice it would take the GPU's memory twice.
    answerers = tuple("same" if one == reasoner and str(one).startswith("vllm:") else one for one in answerers)
    models, own = dict[str, Model](), list[Model]()
    replies = None

    async def opened(wanted: str | Model, role: BackendRole) -> Model:
        if not isinstance(wanted, str):
            return wanted
        own.append(await open_model(wanted, role))
        return own[-1]

    try:
        if reasons or (looks and "same" in answerers):
            models["reasoner"] = await opened(reasoner, "reasoner")
        for place, wanted in enumerate(answerers if looks else ()):
            models[f"answerer:{place}"] = models["reasoner"] if wanted == "same" else await opened(wanted, "answerer")
        specs = list[ToolSpec]()
        for name, wanted_tool in _wanted_tools(policies, tools).items():
            tool = await aside(partial(open_tool, wanted_tool))
            models[f"tool:{name}"] = tool
            specs.append(tool.spec)
            if isinstance(wanted_tool, str):
                own.append(tool)
        known = {slot: model.capabilities() for slot, model in models.items()}
        _check_counted(counted, [can.model for slot, can in known.items() if slot != "reasoner"])
        replies = ReplyCache(Path(cache)) if cache else None
    except BaseException:
        for model in own:
            await model.close()
        raise
    # One limit for a model that plays several roles; the cache stands before it, since what it holds costs no call.
    limits = {id(model): Paced(model, concurrency) for model in models.values()}
    paced = {slot: limits[id(model)] for slot, model in models.items()}
    used = {slot: Cached(model, replies) if replies else model for slot, model in paced.items()}
    given = tuple(tool_name(tool) for tool in tools)
    return Opened(
        Engine(used, concurrency=concurrency), known, tuple(own), replies, paced, counted, tuple(specs), given
    )


def _wanted_tools(policies: Sequence[NamedPolicy], tools: Sequence[WantedTool]) -> dict[str, WantedTool]:
    """The tools to open, by name; raises BadTool where one name stands for two of them."""
    wanted: dict[str, WantedTool] = {}
    for tool in (*(tool for named in policies for tool in named.policy.tools.use), *tools):
        name = tool_name(tool)
        if name in ANSWERERS:
            continue
        if name in wanted and wanted[name] != tool:
            raise BadTool(f"two tools are called '{name}'; leave one out, or run them apart")
        wanted[name] = tool
    return wanted


def each_answerer(answerer: Answerers) -> tuple[Wanted, ...]:
    """The answerers as named, at least one; raises Misuse where one is named twice."""
    named = tuple(answerer) if isinstance(answerer, list | tuple) else (answerer,)
    uris = [one for one in named if isinstance(one, str)]
    if twice := next((uri for uri in uris if uris.count(uri) > 1), None):
        raise Misuse(f"the answerer '{twice}' is named twice; a second look by the same model tells nothing new")
    return named or (None,)


def _check_counted(counted: Reliability, answerers: Sequence[str]) -> None:
    """Raise BadConfig where the counts are of other models than those that answer."""
    known = {count.model for count in counted.counts}
    if known and answerers and not known & set(answerers):
        counts = f"the answerers' reliability is counted of {', '.join(sorted(known))}"
        raise BadConfig(f"{counts}; none of these answers here: {', '.join(answerers)}. Count theirs first")


def _chosen(
    reasoner: Wanted, answerers: tuple[Wanted, ...], reasons: bool, looks: bool
) -> tuple[str | Model, tuple[str | Model, ...]]:
    """Fill in what was not named."""
    names = [w if w is None or isinstance(w, str) else "an object" for w in (reasoner, *answerers)]
    told = "same" if "same" in names[1:] else names[1]  # a reasoner is needed where any answerer is `same`
    uris = choose_models(names[0], told, reasons=reasons, looks=looks)
    first = answerers[0] or uris.answerer
    rest = tuple(answerer for answerer in answerers[1:] if answerer)
    return (reasoner if isinstance(reasoner, Model) else uris.reasoner), (first, *rest)
