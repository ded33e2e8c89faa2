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
from iterreason.errors import BadTool
from iterreason.folding import same_text
from iterreason.memory import SameText
from iterreason.models import BackendRole, Model, open_model
from iterreason.plan import Plan, resolve
from iterreason.policy import NamedPolicy
from iterreason.tools import Tool, open_tool, tool_name
from iterreason.tools.spec import ANSWERERS, ToolSpec

Wanted = str | Model | None  # a model as the caller names it; None leaves it to environment, config file and default
WantedTool = str | Tool  # `name`, `name:model`, or an object of the caller's own


@dataclass(frozen=True, slots=True)
class Opened:
    """Open models and the engine over them; `own` are those opened here, `known` what each can do, by slot.

    tools: those that are open; given: the names of those that the caller wants beside the policy's own.
    """

    engine: Engine
    known: Mapping[str, Capabilities]
    own: tuple[Model, ...]
    replies: ReplyCache | None
    tools: tuple[ToolSpec, ...] = ()
    given: tuple[str, ...] = ()

    def fit(self, named: NamedPolicy, *, same: SameText = same_text, all_rounds: bool = False) -> Plan:
        """A policy resolved against these models. Raises BadPolicy."""
        answerers = [self.known["answerer:0"]] if named.policy.looks and "answerer:0" in self.known else []
        return resolve(
            named,
            self.known.get("reasoner"),
            answerers,
            same=same,
            all_rounds=all_rounds,
            tools=self.tools,
            given=self.given,
        )

    async def close(self) -> None:
        """Close what was opened here; a model that came as an object stays open, it is its owner's."""
        for model in self.own:
            await model.close()
        if self.replies:
            self.replies.close()


async def open_models(
    reasoner: Wanted,
    answerer: Wanted,
    policies: Sequence[NamedPolicy],
    *,
    cache: str | Path | None = None,
    concurrency: int = 32,
    tools: Sequence[WantedTool] = (),
) -> Opened:
    """Open the models and tools that the policies need, each once; what is open is closed again if one fails.

    tools: those that the policies' reasoner may use beside the ones that its policy names.
    Raises UnknownModel, BadTool, MissingExtra, ModelFailed, BadConfig.
    """
    reasons = any(named.policy.verdict_by == "reasoner" for named in policies)
    looks = any(named.policy.looks for named in policies)
    reasoner, answerer = _chosen(reasoner, answerer, reasons, looks)
    models, own = dict[str, Model](), list[Model]()
    replies = None

    async def opened(wanted: str | Model, role: BackendRole) -> Model:
        if not isinstance(wanted, str):
            return wanted
        own.append(await open_model(wanted, role))
        return own[-1]

    try:
        if reasons or (looks and answerer == "same"):
            models["reasoner"] = await opened(reasoner, "reasoner")
        if looks:
            models["answerer:0"] = models["reasoner"] if answerer == "same" else await opened(answerer, "answerer")
        specs = list[ToolSpec]()
        for name, wanted in _wanted_tools(policies, tools).items():
            tool = await aside(partial(open_tool, wanted))
            models[f"tool:{name}"] = tool
            specs.append(tool.spec)
            if isinstance(wanted, str):
                own.append(tool)
        known = {slot: model.capabilities() for slot, model in models.items()}
        replies = ReplyCache(Path(cache)) if cache else None
    except BaseException:
        for model in own:
            await model.close()
        raise
    used = {slot: Cached(model, replies) if replies else model for slot, model in models.items()}
    given = tuple(tool_name(tool) for tool in tools)
    return Opened(Engine(used, concurrency=concurrency), known, tuple(own), replies, tuple(specs), given)


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


def _chosen(reasoner: Wanted, answerer: Wanted, reasons: bool, looks: bool) -> tuple[str | Model, str | Model]:
    """Fill in what was not named."""
    names = (w if w is None or isinstance(w, str) else "an object" for w in (reasoner, answerer))
    uris = choose_models(*names, reasons=reasons, looks=looks)
    return (
        reasoner if isinstance(reasoner, Model) else uris.reasoner,
        answerer if isinstance(answerer, Model) else uris.answerer,
    )
