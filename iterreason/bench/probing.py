"""How often the image moves a policy's answers, on a sample of a run's problems."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from iterreason.background import aside, together
from iterreason.bench.moved import PROBES, Moved, count_moved, read_probes
from iterreason.bench.row import Run
from iterreason.bench.solving import Setting
from iterreason.bench.tasks.item import Item
from iterreason.engine import Engine
from iterreason.errors import IterReasonError
from iterreason.probing import compared, varied
from iterreason.recording import LineFile
from iterreason.records import Image, Problem, Result


async def probe_run(run: Run, setting: Setting, items: Sequence[Item], count: int, engine: Engine) -> Moved:
    """Probe the first `count` problems of a run under seed 0; each is swapped with the next one of another image.

    Each probe is a line of `probes.jsonl` beside the rows; what is there already of this policy is not done again.
    """
    path, chosen = run.folder / PROBES, list(items[:count])
    with closing(LineFile(path, "probes")) as file:
        file.mend()
        known = read_probes(path, setting.plan.named.hash, setting.models)
        for item in chosen:
            if item.id in known:
                continue
            probe = await _probe(item, items, setting, engine)
            line = {"id": item.id, "policy_hash": setting.plan.named.hash, "models": list(setting.models)}
            file.write(line | (probe or {"moved_by_image": None}))
            known[item.id] = None if probe is None else probe["moved_by_image"]
    return count_moved([known[item.id] for item in chosen])


async def _probe(item: Item, items: Sequence[Item], setting: Setting, engine: Engine) -> dict[str, Any] | None:
    """One problem's probe; None where its images cannot be read."""
    try:
        problem = await aside(item.problem)
        variants = await aside(lambda: varied(problem, _other(problem, item, items)))
    except IterReasonError:
        return None

    async def solved(about: Problem) -> Result:
        return await engine.outcome(about, setting.plan, seed=0)

    results = await together(solved(about) for about in (problem, *variants.values()))
    return compared(variants, results, setting.plan.same).to_json()


def _other(problem: Problem, item: Item, items: Sequence[Item]) -> tuple[Image, ...]:
    """The images of the next problem that is about others, as many as are needed; none where there is no such one."""
    own = {image.sha256 for image in problem.images}
    at = items.index(item)
    for other in (*items[at + 1 :], *items[:at]):
        if other.group != item.group:
            found = other.problem().images
            if not own & {image.sha256 for image in found}:
                return found if len(found) == len(problem.images) else found[:1]
    return ()
