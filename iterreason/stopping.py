"""When to stop: small pure functions of the verdicts so far and the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iterreason.extensions import stop_rule_of
from iterreason.memory import Memory, SameText, repeated
from iterreason.policy import Budget, Policy, Stop
from iterreason.records import Usage, Verdict

StopRule = Callable[[Sequence[Verdict], Memory], str | None]


def confident(threshold: float) -> StopRule:
    """Stop once the verdict's confidence is at least `threshold`."""

    def rule(verdicts: Sequence[Verdict], memory: Memory) -> str | None:
        sure = verdicts[-1].confidence
        return f"confident: {sure:.2f} ≥ {threshold:.2f}" if sure is not None and sure >= threshold else None

    return rule


def stable(rounds: int, same: SameText) -> StopRule:
    """Stop once the last `rounds` verdicts give the same answer."""

    def rule(verdicts: Sequence[Verdict], memory: Memory) -> str | None:
        answers = [v.candidate for v in verdicts[-rounds:]]
        first = answers[0]
        if len(answers) < rounds or first is None:
            return None
        agree = all(a is not None and same(first, a) for a in answers[1:])
        return f"stable: same answer for {rounds} rounds" if agree else None

    return rule


def dry(same: SameText) -> StopRule:
    """Stop once the reasoner asks nothing that the memory does not answer already."""

    def rule(verdicts: Sequence[Verdict], memory: Memory) -> str | None:
        new = any(repeated(memory, q, same) is None for q in verdicts[-1].questions)
        return None if new else "dry: no new question"

    return rule


def answered() -> StopRule:
    """Stop once the verdict names an answer rather than `not sure`."""

    def rule(verdicts: Sequence[Verdict], memory: Memory) -> str | None:
        return "answered" if verdicts[-1].answer is not None else None

    return rule


def after(rounds: int) -> StopRule:
    """Stop once so many rounds were made."""

    def rule(verdicts: Sequence[Verdict], memory: Memory) -> str | None:
        return f"round: {rounds} made" if len(verdicts) >= rounds else None

    return rule


def stops_of(policy: Policy) -> tuple[Stop, ...]:
    """The stop rules that a policy follows; a calibrated one takes the place of those that go by confidence."""
    rule = policy.calibrated
    if rule is None:
        return policy.stop
    return Stop(confident=rule.confident), *kept_stops(policy), Stop(round=rule.round)


def kept_stops(policy: Policy) -> tuple[Stop, ...]:
    """Those of a policy's stop rules that stay beside a calibrated one: which do not go by confidence."""
    return tuple(stop for stop in policy.stop if stop.confident is None)


def abstains_below(policy: Policy) -> float:
    """An answer with less confidence than this is not given; 0: all are."""
    return policy.abstain_below if policy.calibrated is None else policy.calibrated.confident


def stop_rule(stop: Stop, same: SameText) -> StopRule:
    """The rule of one `[[stop]]` table: it holds when all its conditions do."""
    parts: list[StopRule] = []
    if stop.confident is not None:
        parts.append(confident(stop.confident))
    if stop.stable is not None:
        parts.append(stable(stop.stable, same))
    if stop.dry:
        parts.append(dry(same))
    if stop.answered:
        parts.append(answered())
    if stop.round is not None:
        parts.append(after(stop.round))
    if stop.rule:
        parts.append(stop_rule_of(stop.rule))

    def rule(verdicts: Sequence[Verdict], memory: Memory) -> str | None:
        reasons = [part(verdicts, memory) for part in parts]
        held = [reason for reason in reasons if reason is not None]
        return ", ".join(held) if len(held) == len(parts) else None

    return rule


def over_budget(budget: Budget, usage: Usage, more_calls: int) -> str | None:
    """The budget that `more_calls` calls would pass, if any."""
    if budget.calls is not None and usage.calls + more_calls > budget.calls:
        return "budget: calls"
    if budget.tokens is not None and usage.tokens >= budget.tokens:
        return "budget: tokens"
    if budget.seconds is not None and usage.elapsed_seconds >= budget.seconds:
        return "budget: seconds"
    return None
