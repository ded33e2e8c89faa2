"""Opening the models that a policy needs, and fitting it to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iterreason.cache import Cached, ReplyCache
from iterreason.config import choose_models
from iterreason.engine import Engine
from iterreason.folding import same_text
from iterreason.memory import SameText
from iterreason.models import BackendRole, Model, open_model
from iterreason.plan import Plan, resolve
from iterreason.policy import NamedPolicy, Policy

Wanted = str | Model | None  # a model as the caller names it; None leaves it to environment, config file and default


@dataclass(frozen=True, slots=True)
class Opened:
    """Open models, the engine over them, and the policy as fitted to them; `own` are those opened here."""

    plan: Plan
    engine: Engine
    own: tuple[Model, ...]
    replies: ReplyCache | None

    async def close(self) -> None:
        """Close what was opened here; a model that came as an object stays open, it is its owner's."""
        for model in self.own:
            await model.close()
        if self.replies:
            self.replies.close()


async def open_models(
    reasoner: Wanted,
    answerer: Wanted,
    named: NamedPolicy,
    *,
    cache: str | Path | None = None,
    concurrency: int = 32,
    same: SameText = same_text,
) -> Opened:
    """Open the models that the policy needs and fit it to them; what is open is closed again if that fails.

    Raises UnknownModel, MissingExtra, ModelFailed, BadPolicy, BadConfig.
    """
    reasoner, answerer = _chosen(reasoner, answerer, named.policy)
    looks, models, own = named.policy.looks, dict[str, Model](), list[Model]()
    replies = None

    async def opened(wanted: str | Model, role: BackendRole) -> Model:
        if not isinstance(wanted, str):
            return wanted
        own.append(await open_model(wanted, role))
        return own[-1]

    try:
        if named.policy.verdict_by == "reasoner" or (looks and answerer == "same"):
            models["reasoner"] = await opened(reasoner, "reasoner")
        if looks:
            models["answerer:0"] = models["reasoner"] if answerer == "same" else await opened(answerer, "answerer")
        known = {slot: model.capabilities() for slot, model in models.items()}
        plan = resolve(named, known.get("reasoner"), [known["answerer:0"]] if looks else [], same=same)
        replies = ReplyCache(Path(cache)) if cache else None
    except BaseException:
        for model in own:
            await model.close()
        raise
    used = {slot: Cached(model, replies) if replies else model for slot, model in models.items()}
    return Opened(plan, Engine(used, concurrency=concurrency), tuple(own), replies)


def _chosen(reasoner: Wanted, answerer: Wanted, policy: Policy) -> tuple[str | Model, str | Model]:
    """Fill in what was not named."""
    names = (w if w is None or isinstance(w, str) else "an object" for w in (reasoner, answerer))
    uris = choose_models(*names, reasons=policy.verdict_by == "reasoner", looks=policy.looks)
    return (
        reasoner if isinstance(reasoner, Model) else uris.reasoner,
        answerer if isinstance(answerer, Model) else uris.answerer,
    )
