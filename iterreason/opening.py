"""Opening the models that a policy needs, and fitting it to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iterreason.cache import Cached, ReplyCache
from iterreason.config import choose_models
from iterreason.engine import Engine
from iterreason.models import Model, open_model
from iterreason.plan import Plan, resolve
from iterreason.policy import NamedPolicy, Policy

Wanted = str | Model | None  # a model as the caller names it; None leaves it to environment, config file and default
_NOT_NEEDED = "not needed"


@dataclass(frozen=True, slots=True)
class Opened:
    """Open models, the engine over them, and the policy as fitted to them."""

    plan: Plan
    engine: Engine
    models: tuple[Model, ...]
    replies: ReplyCache | None

    async def close(self) -> None:
        """Close everything."""
        for model in self.models:
            await model.close()
        if self.replies:
            self.replies.close()


async def open_models(
    reasoner: Wanted, answerer: Wanted, named: NamedPolicy, *, cache: str | Path | None, concurrency: int
) -> Opened:
    """Open the models that the policy needs and fit it to them; what is open is closed again if that fails.

    Raises UnknownModel, MissingExtra, ModelFailed, BadPolicy, BadConfig.
    """
    reasoner, answerer = _chosen(reasoner, answerer, named.policy)
    looks, models = named.policy.looks, dict[str, Model]()
    replies = None
    try:
        if named.policy.verdict_by == "reasoner" or (looks and answerer == "same"):
            models["reasoner"] = await open_model(reasoner, "reasoner") if isinstance(reasoner, str) else reasoner
        if looks and answerer == "same":
            models["answerer:0"] = models["reasoner"]
        elif looks:
            models["answerer:0"] = await open_model(answerer, "answerer") if isinstance(answerer, str) else answerer
        known = {slot: model.capabilities() for slot, model in models.items()}
        plan = resolve(named, known.get("reasoner"), [known["answerer:0"]] if looks else [])
        replies = ReplyCache(Path(cache)) if cache else None
    except BaseException:
        for model in models.values():
            await model.close()
        raise
    used = {slot: Cached(model, replies) if replies else model for slot, model in models.items()}
    different = {id(model): model for model in models.values()}
    return Opened(plan, Engine(used, concurrency=concurrency), tuple(different.values()), replies)


def _chosen(reasoner: Wanted, answerer: Wanted, policy: Policy) -> tuple[str | Model, str | Model]:
    """Fill in what was not named, for the roles that the policy has."""
    if policy.verdict_by == "answerer" and answerer != "same":
        reasoner = reasoner or _NOT_NEEDED
    if not policy.looks:
        answerer = answerer or _NOT_NEEDED
    if reasoner is not None and answerer is not None:
        return reasoner, answerer
    uris = choose_models(*(w if w is None or isinstance(w, str) else _NOT_NEEDED for w in (reasoner, answerer)))
    return (uris.reasoner if reasoner is None else reasoner), (uris.answerer if answerer is None else answerer)
