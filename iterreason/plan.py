"""A policy fitted to the models that are to follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from string import Template

from iterreason.calls import EMPTY_PROMPT, Capabilities, Prompt
from iterreason.errors import BadPolicy
from iterreason.folding import same_text
from iterreason.memory import SameText
from iterreason.policy import DIRECT_ESTIMATORS, Estimator, NamedPolicy, Policy
from iterreason.records import Evidence
from iterreason.reliability import FLAT, Reliability
from iterreason.stopping import StopRule, stop_rule


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy resolved against the models: nothing about an episode's course is left open but the replies.

    confidence: the estimator in use. reasoner, answerers: model names; `reasoner` is empty where none takes part.
    context_tokens: of the reasoner; None where unknown. same: whether two questions or answers are the same.
    reliability: how often each answerer is right, where that was counted.
    all_rounds: no stop rule ends the episode; each round still records which held, for a what-if.
    opening: the messages that all problems share. rules: the policy's stop rules.
    """

    named: NamedPolicy
    confidence: Estimator
    reasoner: str
    answerers: tuple[str, ...]
    context_tokens: int | None = None
    same: SameText = same_text
    all_rounds: bool = False
    reliability: Reliability = FLAT
    opening: Prompt = field(init=False, repr=False, compare=False)
    rules: tuple[StopRule, ...] = field(init=False, repr=False, compare=False)

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return self.named.policy

    def said_by(self, found: Evidence) -> str:
        """Which of several answerers gave this evidence, and how often its answers of this kind are right."""
        if len(self.answerers) < 2 or found.model not in self.answerers:
            return ""
        short = [model.partition("@")[0] for model in self.answerers]
        name = found.model.partition("@")[0]
        said = f"from {name if short.count(name) == 1 else found.model}"
        if not self.reliability.learned or found.kind != "answer":
            return said
        return f"{said}, right in {self.reliability.weight(found.model, found.question):.2f} of such answers"

    def __post_init__(self) -> None:
        policy, prompt = self.policy, EMPTY_PROMPT
        if policy.layout == "append" and policy.prompts.system:
            system = Template(policy.prompts.system).substitute(questions=policy.rounds.questions)
            prompt = prompt.plus("system", system.strip())
            for example in policy.examples:
                prompt = prompt.plus("user", example.user.strip()).plus("assistant", example.assistant.strip())
        object.__setattr__(self, "opening", prompt)
        object.__setattr__(self, "rules", tuple(stop_rule(stop, self.same) for stop in policy.stop))

    def with_policy(self, named: NamedPolicy) -> Plan:
        """The same models under another policy (a what-if), its stop rules heeded.

        Keeps the estimator where the policy lists it.
        """
        listed = named.policy.confidence
        estimator = self.confidence if self.confidence in listed else listed[0]
        return replace(self, named=named, confidence=estimator, all_rounds=False)


def resolve(
    named: NamedPolicy,
    reasoner: Capabilities | None,
    answerers: Sequence[Capabilities],
    *,
    same: SameText = same_text,
    all_rounds: bool = False,
    reliability: Reliability = FLAT,
) -> Plan:
    """Fit a policy to the models; raises BadPolicy where they cannot do what it needs.

    reasoner: None only where the policy takes its verdict from the answerer. same: whether two questions, or two
    answers, are the same; by default after folding case, punctuation, articles and number words.
    all_rounds, reliability: see `Plan`.
    """
    policy = named.policy
    if policy.verdict_by == "reasoner":
        if reasoner is None or not reasoner.chats:
            raise BadPolicy(f"policy '{named.name}' needs a reasoner that takes prompts; {_name(reasoner)} does not")
        if policy.reasoner.sees_image and not reasoner.images:
            raise BadPolicy(f"policy '{named.name}' shows the image to the reasoner; {_name(reasoner)} takes no images")
    for answerer in answerers if policy.looks else ():
        if not (answerer.looks or (answerer.chats and answerer.images)):
            raise BadPolicy(f"policy '{named.name}' looks at the image; {answerer.model} takes no images")
    if policy.looks and not answerers:
        raise BadPolicy(f"policy '{named.name}' looks at the image and needs an answerer")
    usable = [e for e in policy.confidence if _can(e, policy, reasoner, answerers)]
    if not usable:
        raise BadPolicy(_no_confidence(named, reasoner, answerers))
    used = reasoner if reasoner and policy.verdict_by == "reasoner" else None
    context = used.context_tokens if used else None
    lookers = tuple(a.model for a in answerers) if policy.looks else ()
    return Plan(named, usable[0], used.model if used else "", lookers, context, same, all_rounds, reliability)


def _no_confidence(named: NamedPolicy, reasoner: Capabilities | None, answerers: Sequence[Capabilities]) -> str:
    wanted, answering = ", ".join(named.policy.confidence), ", ".join(a.model for a in answerers) or "no answerer"
    if named.policy.verdict_by == "answerer":
        able, remedy = answering, "Name an answerer that gives log-probabilities."
    else:
        able, remedy = f"{_name(reasoner)} with {answering}", "Add 'vote' or 'stated'."
    return f"policy '{named.name}' takes its confidence from {wanted}; {able} can give none of these. {remedy}"


def _name(model: Capabilities | None) -> str:
    return model.model if model else "no reasoner"


def _can(
    estimator: Estimator, policy: Policy, reasoner: Capabilities | None, answerers: Sequence[Capabilities]
) -> bool:
    if estimator in DIRECT_ESTIMATORS:
        return policy.look.samples > 1 or any(a.logprobs or a.scores for a in answerers)
    return reasoner is not None and (reasoner.scores if estimator == "choice-logprob" else reasoner.chats)
