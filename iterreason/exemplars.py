"""Worked exemplars: chosen from a labelled pool before an episode, captioned in it where the reasoner sees no images.

Source: Flamingo (Alayrac et al. 2022, arXiv 2204.14198) for interleaved images and texts; PICa (Yang et al. 2022, arXiv
2109.05014) for captions in the images' place, and for choosing the most similar ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iterreason.calls import Call, Look, Sampling, View
from iterreason.errors import BadData, BadProblem
from iterreason.prompts import look_prompt, one_line
from iterreason.records import Exemplar, Problem
from iterreason.similarity import similarities
from iterreason.state import Ended, State, Steps

if TYPE_CHECKING:
    from iterreason.policy import Policy

# ------------------------------------------------------------------ choosing them


def with_exemplars(problem: Problem, policy: Policy, pool: Sequence[Exemplar], seed: int | None = None) -> Problem:
    """The problem with as many exemplars as the policy shows, chosen as it says; its own ones where it has enough.

    An exemplar about one of the problem's own images with its very question is never chosen: it would give the answer
    away. seed: of the choice at random; 0 where None. Raises BadProblem where there are too few, and as `similarities`.
    """
    wanted = policy.exemplars
    if not wanted or len(problem.exemplars) >= wanted:
        return problem
    others = [exemplar for exemplar in pool if not _same_problem(exemplar, problem)]
    if len(others) < wanted:
        raise BadProblem(
            f"the policy shows {wanted} worked exemplars and there are {len(others)} to choose from;"
            " name a file of labelled ones with --exemplars FILE.jsonl (in Python: exemplars=), see docs/policies.md"
        )
    return replace(problem, exemplars=_chosen(problem, others, policy, seed or 0))


def _same_problem(exemplar: Exemplar, problem: Problem) -> bool:
    shared = {image.sha256 for image in exemplar.images} & {image.sha256 for image in problem.images}
    return bool(shared) and exemplar.question.strip() == problem.question.strip()


def _chosen(problem: Problem, pool: list[Exemplar], policy: Policy, seed: int) -> tuple[Exemplar, ...]:
    wanted, by = policy.exemplars, policy.exemplars_by
    if by == "first":
        return tuple(pool[:wanted])
    if by == "random":
        images = ",".join(image.sha256 for image in problem.images)
        return tuple(random.Random(f"{seed}:{images}:{problem.question}").sample(pool, wanted))
    near = similarities(problem, pool, by, policy.exemplars_embedder)
    best = sorted(range(len(pool)), key=lambda place: -near[place])[:wanted]
    return tuple(pool[place] for place in reversed(best))  # the most similar one stands next to the problem


# ------------------------------------------------------------------ reading a pool


def read_exemplars(path: Path) -> tuple[Exemplar, ...]:
    """A pool from a JSONL file, a line each: `image` (or a list), `question`, `answer`, and perhaps `rationale`.

    Image files are named from the file's folder. Raises BadData, BadImage.
    """
    import json

    from iterreason.images import load_image

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"cannot read the exemplars {path}: {error}") from None
    found: list[Exemplar] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except ValueError as error:
            raise BadData(f"{path}, line {number} is not JSON: {error}") from None
        said = said if isinstance(said, dict) else {}
        names = said.get("image")
        names = names if isinstance(names, list) else [names]
        texts = [said.get("question"), said.get("answer"), said.get("rationale", ""), *names]
        if not all(isinstance(text, str) for text in texts) or not all(texts[:2]) or not all(names):
            raise BadData(
                f"{path}, line {number}: an exemplar needs the texts 'image', 'question' and 'answer',"
                " and may have 'rationale'"
            )
        images = tuple(load_image(path.parent / name) for name in names)
        found.append(Exemplar(images, *texts[:3]))
    return tuple(found)


# ------------------------------------------------------------------ in an episode


def caption_exemplars(state: State) -> Steps[None]:
    """Have the answerer caption the exemplars' images, where the reasoner sees none of them; raises Ended."""
    exemplars = state.problem.exemplars[: state.policy.exemplars]
    if state.plan.sees_image or not state.plan.answerers:
        return
    images = list({image.sha256: image for shown in exemplars for image in shown.images}.values())
    if not images:
        return
    views = [View(image) for image in images]
    sampling = Sampling(0.0, state.policy.look.max_tokens, 1, state.seed)
    made = [Call("answerer:0", "look", look_prompt(state.plan, view, None, ()), Look(view), sampling) for view in views]
    replies = yield from state.make(made)
    if state.ending:
        raise Ended(state.ending)
    if failed := next((reply.error for reply in replies if reply.error), None):
        raise Ended("error", f"the answerer failed: {failed}")
    state.shown = {image.sha256: one_line(reply.text) for image, reply in zip(images, replies, strict=True)}
