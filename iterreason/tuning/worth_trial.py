"""What keeping the questions worth most saves on `scenes`: `python -m iterreason.tuning.worth_trial [--limit N]`.

The embedded reasoner says neither what its questions' answers would mean nor how probable each choice is, so a teacher
plays the reasoner: it knows how a question falls apart, and of the image what the embedded answerer says. Here its
read-outs are its own belief, not the right answer. Policy `evidence`, stopped where nothing is left to ask, once with
`ask.keep = "first"` and once for each cost with `"worth"`. Stated beforehand: a cost passes where the answerer is asked
at least 20 % less often and the paired 95 % interval of the accuracy's difference stays above -0.02.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product

import numpy as np

from iterreason.bench.tasks.readers.scenes import with_lessons
from iterreason.bench.tasks.task import find_task
from iterreason.calls import Call, Reply, Sample
from iterreason.folding import fold
from iterreason.loop import episode
from iterreason.models import Model
from iterreason.models.embedded import answerer
from iterreason.plan import Plan
from iterreason.policy_weighing import Worth
from iterreason.records import Problem
from iterreason.tuning.belief import LEAST, Belief, from_steps, together
from iterreason.tuning.lessons import Lesson
from iterreason.tuning.scenes import COLOURS
from iterreason.tuning.teach import Taught, plan_for, problem_of, teach
from iterreason.tuning.teacher import Teacher

COMMAND = "python -m iterreason.tuning.worth_trial"
MARGIN, SAVING = 0.02, 0.2
_SURE = 0.95  # of an answer that is only supposed
_RESAMPLES = 4_999
_WAVE = 64
_LEAST_CHANGE = 1e-3
_COMBINATIONS = 81  # of answers to steps that nothing is known of yet, at most


@dataclass(slots=True)
class OpenTeacher(Teacher):
    """A teacher that says what its questions' answers would mean, and whose read-outs are its belief."""

    def reply(self, call: Call) -> Reply:
        """A verdict with questions and what they mean, or how probable it holds each letter."""
        if call.purpose == "readout":
            last = call.prompt.message
            lines = dict(line.split(": ", 1) for line in (last.text if last else "").splitlines() if ": " in line)
            held = self._held()
            scores = tuple(math.log(max(held.get(lines[letter], 0.0), LEAST)) for letter in call.choices)
            return Reply((Sample(call.choices[int(np.argmax(scores))], (0.0,)),), scores)
        verdict = json.loads(Teacher.reply(self, call).text)
        verdict["questions"] = [{"question": q, "means": self._meaning(q)} for q in verdict["questions"]]
        return Reply((Sample(json.dumps(verdict), (0.0,)),))

    def _held(self) -> Belief:
        """Its belief, what it does not know of a step taken as any answer, each as likely."""
        course = self._course()
        known = self._known(course)
        open_steps = [text for text in course.texts if text not in known]
        combinations = list(product(*(_answers(text) for text in open_steps)))
        step = -(-len(combinations) // _COMBINATIONS)
        mean: defaultdict[str, float] = defaultdict(float)
        for answers in combinations[::step]:
            supposed = known | {text: (answer, _SURE) for text, answer in zip(open_steps, answers, strict=True)}
            held = together(self.lesson, from_steps(self.lesson, course, supposed), self.direct)
            for choice, probability in held.items():
                mean[choice] += probability / len(combinations[::step])
        return dict(mean)

    def _meaning(self, question: str) -> list[dict[str, str]]:
        """For each answer that the question may bring, the choice that it would lift most; none where it lifts none."""
        before, key, made = self._held(), fold(question), []
        said = self.said.get(key)
        for answer in _answers(question):
            self.said[key] = answer, _SURE
            after = self._held()
            lifted = max(after, key=lambda choice: after[choice] - before.get(choice, 0.0))
            if after[lifted] - before.get(lifted, 0.0) > _LEAST_CHANGE:
                made.append({"answer": answer, "speaks_for": lifted})
        if said is None:
            self.said.pop(key, None)
        else:
            self.said[key] = said
        return made


def _answers(question: str) -> Sequence[str]:
    if question.startswith("how many"):
        return tuple(map(str, range(9)))
    return COLOURS if "colour" in question or "color" in question else ("yes", "no")


def plan_with(plan: Plan, worth: Worth) -> Plan:
    """The same plan, with other questions kept."""
    return replace(plan, named=replace(plan.named, policy=replace(plan.policy, ask=worth)))


def run(problems: Sequence[tuple[Problem, Lesson]], plan: Plan, looker: Model) -> list[tuple[bool, int]]:
    """Of each problem whether its best guess is right, and how many looks it took."""
    most = plan.policy.ask.propose if plan.policy.ask.keep == "worth" else plan.policy.rounds.questions
    made = []
    for start in range(0, len(problems), _WAVE):
        wave = [
            Taught(lesson, p, OpenTeacher(lesson, most, plan.policy.rounds.max), episode(p, plan, seed=0), [])
            for p, lesson in problems[start : start + _WAVE]
        ]
        asyncio.run(teach(wave, looker))
        for one in wave:
            assert one.result is not None, "the episode ended"
            assert one.result.error is None, one.result.error
            made.append((one.result.best_guess == one.lesson.answer, one.result.usage.looks))
    return made


def bounds(moves: Sequence[float], clusters: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of a mean, by resampling whole clusters."""
    names = sorted(set(clusters))
    sums = np.array([sum(m for m, c in zip(moves, clusters, strict=True) if c == name) for name in names])
    sizes = np.array([list(clusters).count(name) for name in names])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(names), (_RESAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--split", default="dev", choices=("dev", "test"))
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="problems (default: 200)")
    parser.add_argument("--cost", type=float, action="append", metavar="C", help="default: 0.02, 0.05, 0.1")
    options = parser.parse_args(arguments)
    looker = answerer(doubts_words=False)  # as the teacher was taught with
    pairs = list(with_lessons(find_task("scenes"), options.split))[: options.limit]
    problems = [(problem_of(lesson, item.problem().images[0], item.id), lesson) for item, lesson in pairs]
    groups = [item.group for item, _ in pairs]
    plan = plan_for(looker.capabilities())
    rounds = replace(plan.policy.rounds, min=1)  # so that nothing need be asked where nothing is worth it
    plan = replace(plan, named=replace(plan.named, policy=replace(plan.policy, rounds=rounds)))
    first = run(problems, plan, looker)
    looks = [n for _, n in first]
    made: dict[str, object] = {"command": COMMAND, "date": date.today().isoformat(), "split": options.split}
    made |= {"n": len(pairs), "first": {"accuracy": np.mean([r for r, _ in first]), "looks": np.mean(looks)}}
    for cost in options.cost or (0.02, 0.05, 0.1):
        second = run(problems, plan_with(plan, Worth(keep="worth", cost=cost)), looker)
        moves = [float(new) - float(old) for (new, _), (old, _) in zip(second, first, strict=True)]
        low, high = bounds(moves, groups)
        saved = 1 - sum(n for _, n in second) / sum(looks)
        made[f"worth, cost {cost}"] = {
            "accuracy": np.mean([r for r, _ in second]),
            "looks": np.mean([n for _, n in second]),
            "saved": saved,
            "difference": [np.mean(moves), low, high],
            "passes": bool(saved >= SAVING and low > -MARGIN),
        }
    print(json.dumps(made, indent=2, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())
