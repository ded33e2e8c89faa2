"""A policy fitted to the models that are to follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from string import Template

from iterreason.calibration.file import check_calibrated
from iterreason.calls import EMPTY_PROMPT, Capabilities, Prompt
from iterreason.errors import BadPolicy
from iterreason.folding import same_text
from iterreason.memory import SameText
from iterreason.policy import DIRECT_ESTIMATORS, ESTIMATORS, Estimator, NamedPolicy, Policy
from iterreason.records import Evidence
from iterreason.reliability import FLAT, Reliability
from iterreason.stopping import StopRule, stop_rule, stops_of
from iterreason.tools.spec import ANSWERER_TOOLS, ToolSpec, goes_first, tool_lines


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy resolved against the models: nothing about an episode's course is left open but the replies.

    confidence: the estimator in use. reasoner, answerers: model names; `reasoner` is empty where none takes part.
    context_tokens: of the reasoner; None where unknown. same: whether two questions or answers are the same.
    reliability: how often each answerer is right, where that was counted.
    all_rounds: no stop rule ends the episode; each round still records which held, for a what-if.
    tools: those that the reasoner may use. attribution: whether each piece of evidence is weighed at the end.
    reasoner_scores: whether the reasoner scores choices; the read-outs of `entailment` go by it.
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
    tools: tuple[ToolSpec, ...] = ()
    attribution: bool = False
    reasoner_scores: bool = False
    opening: Prompt = field(init=False, repr=False, compare=False)
    rules: tuple[StopRule, ...] = field(init=False, repr=False, compare=False)

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return self.named.policy

    @property
    def sees_image(self) -> bool:
        """Whether the reasoner is shown the images; `instead` of looks: where nothing was left to look with."""
        sees = self.policy.reasoner.sees_image
        return sees is True or (sees == "instead" and not self.answerers)

    @property
    def look_first(self) -> tuple[str, ...]:
        """The looks before the first round."""
        instead = self.policy.reasoner.sees_image == "instead" and self.sees_image
        return () if instead else self.policy.look.first

    @property
    def models(self) -> tuple[str, ...]:
        """The models that take part, the reasoner first, the tools' last."""
        return tuple(name for name in (self.reasoner, *self.answerers, *(tool.model for tool in self.tools)) if name)

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
            counts = {"questions": policy.rounds.questions, "steps": policy.plan.steps}
            system = Template(policy.prompts.system).substitute(counts).strip()
            if self.tools:
                system += "\n" + Template(policy.prompts.tools).substitute(tools=tool_lines(self.tools)).strip()
            prompt = prompt.plus("system", system)
            for example in policy.examples:
                prompt = prompt.plus("user", example.user.strip()).plus("assistant", example.assistant.strip())
        object.__setattr__(self, "opening", prompt)
        object.__setattr__(self, "rules", tuple(stop_rule(stop, self.same) for stop in stops_of(policy)))
        check_calibrated(self)

    def with_policy(self, named: NamedPolicy) -> Plan:
        """The same models under another policy (a what-if), its stop rules heeded.

        Keeps the estimator where the policy lists it, and the tools that this policy was given from outside.
        """
        listed = named.policy.confidence
        estimator = self.confidence if self.confidence in listed else listed[0]
        given = [spec.name for spec in self.tools if spec.name not in self.policy.tools.names]
        tools = _offered(named.policy, self.tools, given)
        return replace(self, named=named, confidence=estimator, all_rounds=False, tools=tools, attribution=False)


def resolve(
    named: NamedPolicy,
    reasoner: Capabilities | None,
    answerers: Sequence[Capabilities],
    *,
    same: SameText = same_text,
    all_rounds: bool = False,
    reliability: Reliability = FLAT,
    tools: Sequence[ToolSpec] = (),
    given: Sequence[str] = (),
    attribution: bool = False,
) -> Plan:
    """Fit a policy to the models; raises BadPolicy where they cannot do what it needs.

    reasoner: None only where the policy takes its verdict from the answerer. same: whether two questions, or two
    answers, are the same; by default after folding case, punctuation, articles and number words.
    all_rounds, reliability, attribution: see `Plan`.
    tools: those that are open; the policy gets the ones that it names, and those in `given`.
    """
    policy = named.policy
    if policy.reasons:
        if reasoner is None or not reasoner.chats:
            raise BadPolicy(f"policy '{named.name}' needs a reasoner that takes prompts; {_name(reasoner)} does not")
        if policy.reasoner.sees_image is True and not reasoner.images:
            raise BadPolicy(f"policy '{named.name}' shows the image to the reasoner; {_name(reasoner)} takes no images")
    instead = policy.reasoner.sees_image == "instead" and reasoner is not None and reasoner.images
    looks = policy.looks and not instead
    for answerer in answerers if looks else ():
        if not (answerer.looks or (answerer.chats and answerer.images)):
            raise BadPolicy(f"policy '{named.name}' looks at the image; {answerer.model} takes no images")
    if looks and not answerers:
        raise BadPolicy(f"policy '{named.name}' looks at the image and needs an answerer")
    usable = [e for e in policy.confidence if _can(e, policy, reasoner, answerers)]
    if not usable:
        raise BadPolicy(_no_confidence(named, reasoner, answerers))
    used = reasoner if reasoner and policy.reasons else None
    context = used.context_tokens if used else None
    lookers = tuple(a.model for a in answerers) if looks else ()
    offered = _offered(policy, tools, given)
    _check_tools(named, offered, given)
    scores = usable[0] == "entailment" and used is not None and used.scores
    name = used.model if used else ""
    return Plan(named, usable[0], name, lookers, context, same, all_rounds, reliability, offered, attribution, scores)


def _offered(policy: Policy, tools: Sequence[ToolSpec], given: Sequence[str]) -> tuple[ToolSpec, ...]:
    """The tools that the policy's reasoner gets, of those that are there."""
    if not (policy.layout == "append" and (policy.asks or policy.tools.first)):
        return ()
    wanted = (*policy.tools.names, *given)
    there = {spec.name: spec for spec in (*ANSWERER_TOOLS, *tools)}
    return tuple(there[name] for name in dict.fromkeys(wanted) if name in there)


def _check_tools(named: NamedPolicy, offered: Sequence[ToolSpec], given: Sequence[str]) -> None:
    names = [spec.name for spec in offered]
    for name in given:
        if name not in names:
            raise BadPolicy(f"policy '{named.name}' never uses a tool, so '{name}' would stand idle; leave it out")
    for spec in offered:
        if spec.name in named.policy.tools.first and not goes_first(spec):
            raise BadPolicy(f"policy '{named.name}' uses '{spec.name}' first, which needs arguments; only ask for it")


def _no_confidence(named: NamedPolicy, reasoner: Capabilities | None, answerers: Sequence[Capabilities]) -> str:
    wanted, answering = ", ".join(named.policy.confidence), ", ".join(a.model for a in answerers) or "no answerer"
    if not named.policy.reasons:
        able, remedy = answering, "Name an answerer that gives log-probabilities."
    else:
        able, remedy = f"{_name(reasoner)} with {answering}", "Add 'vote' or 'stated'."
    return f"policy '{named.name}' takes its confidence from {wanted}; {able} can give none of these. {remedy}"


def _name(model: Capabilities | None) -> str:
    return model.model if model else "no reasoner"


def _can(
    estimator: Estimator, policy: Policy, reasoner: Capabilities | None, answerers: Sequence[Capabilities]
) -> bool:
    if estimator not in ESTIMATORS:  # an installed one goes by what is known anyway
        return True
    if estimator in DIRECT_ESTIMATORS:
        return policy.look.samples > 1 or any(a.logprobs or a.scores for a in answerers)
    if estimator in ("cited", "combined"):
        return reasoner is not None and any(a.logprobs for a in answerers)
    return reasoner is not None and (reasoner.scores if estimator == "choice-logprob" else reasoner.chats)
