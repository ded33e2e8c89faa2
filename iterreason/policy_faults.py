"""What contradicts itself in a policy whose keys are each in order, or stands in it to no effect.

Each fault names the key, its value, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter

from iterreason.errors import unknown
from iterreason.extensions import GROUPS, installed
from iterreason.policy import DIRECT_ESTIMATORS, ESTIMATORS, SEPARATE_PROMPTS, Entailment, Policy, Stop
from iterreason.policy_weighing import Believing


def faults_of(policy: Policy) -> list[str]:
    """Every fault, a sentence each; none where the policy is in order."""
    parts = (_prompts, _confidence, _rounds, _idle, _weighing, _exemplars, _stops)
    return [fault for part in parts for fault in part(policy)]


def _prompts(policy: Policy) -> Iterator[str]:
    """Prompts that the layout needs and lacks, or has and never uses."""
    several, by_reasoner = policy.rounds.max > 1, policy.verdict_by == "reasoner"
    unused: tuple[str, ...] = ()
    if policy.layout == "append":
        needed = {"system": True, "problem": True, "evidence": several or bool(policy.plan.steps)}
        needed |= {"answer": policy.reasoner.rationale_first}
        needed = {name: by_reasoner and wanted for name, wanted in needed.items()}
        unused = SEPARATE_PROMPTS
    else:
        asks = policy.rounds.questions > 0
        needed = {"ask_first": asks and by_reasoner, "conclude": by_reasoner, "ask_more": asks and several}
        unused = ("system", "problem", "evidence", "answer")
    for name, wanted in needed.items():
        if wanted and not getattr(policy.prompts, name):
            yield f"layout '{policy.layout}' needs prompts.{name}; write it"
    for name in unused:
        if getattr(policy.prompts, name):
            yield f"layout '{policy.layout}' does not use prompts.{name}; leave it out"
    if policy.layout == "append" and policy.prompts.answer and not policy.reasoner.rationale_first:
        yield "prompts.answer is used only with reasoner.rationale_first = true; set that, or leave it out"


def _confidence(policy: Policy) -> Iterator[str]:
    """Estimators that do not go with where the verdict comes from."""
    named = policy.confidence
    direct = [estimator for estimator in named if estimator in DIRECT_ESTIMATORS]
    looks_directly = "question" in policy.look.first
    yield from _unknown(policy)
    if twice := next((estimator for estimator in named if named.count(estimator) > 1), None):
        yield f"confidence names '{twice}' twice; once is enough"
    if policy.verdict_by == "answerer":
        if not looks_directly or (policy.rounds.max > 1 and (policy.layout != "separate" or "entailment" not in named)):
            yield (
                "verdict_by = 'answerer' needs 'question' in look.first and rounds.max = 1;"
                " more rounds need layout = 'separate' and the confidence 'entailment'"
            )
        elif "entailment" not in named and len(direct) < len(named):
            allowed = ", ".join((*DIRECT_ESTIMATORS, "entailment"))
            yield f"verdict_by = 'answerer' has no reasoner; confidence can only be one of: {allowed}"
    elif direct and not looks_directly:
        yield f"confidence '{direct[0]}' needs 'question' in look.first: it is of the direct answer"
    if "majority" in named:
        if len(named) > 1:
            yield f"confidence 'majority' counts rounds as votes; it cannot stand beside others: {', '.join(named)}"
        if policy.layout != "separate" or policy.rounds.questions or policy.verdict_by == "answerer":
            yield (
                "confidence 'majority' takes each round as one more sample of the same prompt:"
                " it needs layout = 'separate', rounds.questions = 0 and the reasoner's verdict"
            )
        if not policy.reasoner.temperature:
            yield "confidence 'majority' with reasoner.temperature = 0 counts copies; write one above 0, such as 0.7"


def _unknown(policy: Policy) -> Iterator[str]:
    """Names of estimators and stop rules that are neither ours nor installed."""
    for place, name in enumerate(policy.confidence):
        if name not in ESTIMATORS and name not in (found := installed("estimator")):
            yield f"confidence.{place}: {unknown('estimator', name, (*ESTIMATORS, *found))}"
    for place, stop in enumerate(policy.stop):
        if stop.rule is not None and stop.rule not in (found := installed("stop rule")):
            group = GROUPS["stop rule"]
            yield f"stop.{place}.rule: {unknown('stop rule', stop.rule, found)} Packages offer them as '{group}'."


def _rounds(policy: Policy) -> Iterator[str]:
    """Rounds that contradict each other or the layout."""
    rounds = policy.rounds
    if rounds.min > rounds.max:
        yield (
            f"rounds.min = {rounds.min} is more than rounds.max = {rounds.max};"
            f" lower rounds.min, or raise rounds.max to {rounds.min}"
        )
    if (tested := policy.calibrated) and not rounds.min <= tested.round <= rounds.max:
        yield f"calibrated.round = {tested.round} is not within rounds.min and rounds.max"
    sampled = "majority" in policy.confidence
    if policy.layout == "separate" and policy.verdict_by == "reasoner" and not rounds.questions and not sampled:
        yield "layout 'separate' asks in every round; rounds.questions must be at least 1"
    if policy.plan.steps and rounds.max > 1:
        yield f"plan.steps = {policy.plan.steps} plans once: rounds.max must be 1, not {rounds.max}"
    if rounds.conclude == "last":
        if policy.layout != "separate" or policy.verdict_by == "answerer":
            yield "rounds.conclude = 'last' needs layout = 'separate' and the reasoner's verdict"
        if policy.stop:
            yield "rounds.conclude = 'last' leaves a [[stop]] rule without verdicts to go by; leave the rules out"


def _idle(policy: Policy) -> Iterator[str]:
    """What stands in a policy to no effect, or to another than it says."""
    unused = ("examples", "exemplars", "tools.use", "plan.steps", "reasoner.rationale_first")
    for name in unused if policy.layout == "separate" else ():
        if attrgetter(name)(policy):
            yield f"layout 'separate' does not use {name}; leave it out"
    for name in policy.tools.first:
        if name not in policy.tools.names:
            yield f"tools.first names '{name}'; tools.use does not"
    look = policy.look
    if look.samples > 1 and not look.temperature:
        yield f"look.samples = {look.samples} would all be the same: look.temperature must be above 0"
    if (look.samples > 1 or look.temperature) and "question" not in look.first:
        yield "look.samples and look.temperature are of the question itself; look.first lacks 'question'"
    if policy.entailment != Entailment() and "entailment" not in policy.confidence:
        yield "[entailment] is for the estimator 'entailment'; name it in confidence, or leave the table out"


def _weighing(policy: Policy) -> Iterator[str]:
    """Belief and worth where nothing would ask for them."""
    ask = policy.ask
    if ask.keep == "worth" and (policy.layout == "separate" or not policy.asks or policy.plan.steps):
        yield "ask.keep = 'worth' needs layout 'append' and a reasoner that asks from round to round"
    if ask.keep == "worth" and ask.propose < policy.rounds.questions:
        yield f"ask.propose = {ask.propose} is less than rounds.questions = {policy.rounds.questions}"
    if policy.belief.reliability != Believing().reliability and "combined" not in policy.confidence:
        yield "belief.reliability is for the estimator 'combined'; name it in confidence, or leave it out"
    if policy.belief.same == "reasoner" and (policy.layout == "separate" or policy.verdict_by == "answerer"):
        yield "belief.same = 'reasoner' needs layout 'append': its read-out is a branch of the conversation"


def _exemplars(policy: Policy) -> Iterator[str]:
    if policy.exemplars_by != "first" and not policy.exemplars:
        yield f"exemplars_by = '{policy.exemplars_by}' chooses none: exemplars must be at least 1"
    if policy.exemplars_embedder and policy.exemplars_by not in ("question", "image"):
        yield (
            f"exemplars_embedder = '{policy.exemplars_embedder}' compares nothing:"
            f" exemplars_by must be 'question' or 'image', not '{policy.exemplars_by}'"
        )
    if policy.exemplars and policy.reasoner.rationale_first:
        yield "exemplars show rationale and answer in one reply; reasoner.rationale_first must be false"


def _stops(policy: Policy) -> Iterator[str]:
    """Rules that hold always, never, or never first."""
    for number, rule in enumerate(policy.stop):
        if rule == Stop():
            yield "a [[stop]] rule without a condition would stop at once; name one"
            continue
        if rule.confident == 0:
            yield "stop.confident = 0 would stop at once; write a threshold above 0"
        if rule.stable is not None and rule.stable > policy.rounds.max:
            yield (
                f"stop.stable = {rule.stable} never holds: it is more than rounds.max = {policy.rounds.max};"
                " lower it, or raise rounds.max"
            )
        if rule.round is not None and not policy.rounds.min <= rule.round <= policy.rounds.max:
            yield f"stop.round = {rule.round} must be within rounds.min = {policy.rounds.min} and rounds.max"
        if rule.dry and policy.layout == "separate":
            yield "stop.dry would stop at once: in layout 'separate' a verdict asks nothing; leave it out"
        elif rule.dry and not policy.asks:
            yield (
                f"stop.dry would stop at once: with rounds.max = {policy.rounds.max} and"
                f" rounds.questions = {policy.rounds.questions} nothing is asked; leave it out, or let it ask"
            )
        if rule.answered and policy.layout == "append":
            yield "stop.answered would stop at once: in layout 'append' a verdict always names an answer; leave it out"
        first = next((n for n, other in enumerate(policy.stop[:number], 1) if _whenever(rule, other)), None)
        if first is not None:
            same = "is the same as" if rule == policy.stop[first - 1] else "can hold only where also"
            end = "" if same.endswith("as") else " does"
            yield f"[[stop]] rule {number + 1} {same} rule {first}{end}, so it never decides; leave it out"


def _whenever(rule: Stop, other: Stop) -> bool:
    """Whether `other` holds whenever `rule` does."""
    for condition in fields(Stop):
        asked, given = getattr(other, condition.name), getattr(rule, condition.name)
        if asked is None:
            continue
        if given is None or (condition.name in ("confident", "stable") and given < asked):
            return False
        if condition.name not in ("confident", "stable") and given != asked:
            return False
    return other != Stop()
