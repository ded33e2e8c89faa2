"""Opening the models that policies need, and fitting the policies to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iterreason.cache import Cached, ReplyCache
from iterreason.calls import Capabilities
from iterreason.config import choose_models
from iterreason.engine import Engine
from iterreason.folding import same_text
from iterreason.memory import SameText
from iterreason.models import BackendRole, Model, open_model
from iterreason.models.paced import Paced
from iterreason.plan import Plan, resolve
from iterreason.policy import NamedPolicy

Wanted = str | Model | None  # a model as the caller names it; None leaves it to environment, config file and default


@dataclass(frozen=True, slots=True)
class Opened:
    """Open models and the engine over them; `own` are those opened here, `known` what each can do, by slot.

    paced: the models behind their limits of calls in flight, by slot.
    """

    engine: Engine
    known: Mapping[str, Capabilities]
    own: tuple[Model, ...]
    replies: ReplyCache | None
    paced: Mapping[str, Paced]

    def fit(self, named: NamedPolicy, *, same: SameText = same_text, all_rounds: bool = False) -> Plan:
        """A policy resolved against these models. Raises BadPolicy."""
        answerers = [self.known["answerer:0"]] if named.policy.looks and "answerer:0" in self.known else []
        return resolve(named, self.known.get("reasoner"), answerers, same=same, all_rounds=all_rounds)

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
    answerer: Wanted,
    policies: Sequence[NamedPolicy],
    *,
    cache: str | Path | None = None,
    concurrency: int = 32,
) -> Opened:
    """Open the models that the policies need, each once; what is open is closed again if one fails.

    concurrency: the most episodes in flight, and the most calls at once to one model, ≥ 1.

    Raises UnknownModel, MissingExtra, ModelFailed, BadConfig.
    """
    reasons = any(named.policy.verdict_by == "reasoner" for named in policies)
    looks = any(named.policy.looks for named in policies)
    reasoner, answerer = _chosen(reasoner, answerer, reasons, looks)
    if answerer == reasoner and isinstance(answerer, str) and answerer.startswith("vllm:"):
        answerer = "same"  # twice would take the GPU's memory twice
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
        known = {slot: model.capabilities() for slot, model in models.items()}
        replies = ReplyCache(Path(cache)) if cache else None
    except BaseException:
        for model in own:
            await model.close()
        raise
    # One limit for a model that plays several roles; the cache stands before it, since what it holds costs no call.
    limits = {id(model): Paced(model, concurrency) for model in models.values()}
    paced = {slot: limits[id(model)] for slot, model in models.items()}
    used = {slot: Cached(model, replies) if replies else model for slot, model in paced.items()}
    return Opened(Engine(used, concurrency=concurrency), known, tuple(own), replies, paced)


def _chosen(reasoner: Wanted, answerer: Wanted, reasons: bool, looks: bool) -> tuple[str | Model, str | Model]:
    """Fill in what was not named."""
    names = (w if w is None or isinstance(w, str) else "an object" for w in (reasoner, answerer))
    uris = choose_models(*names, reasons=reasons, looks=looks)
    return (
        reasoner if isinstance(reasoner, Model) else uris.reasoner,
        answerer if isinstance(answerer, Model) else uris.answerer,
    )
