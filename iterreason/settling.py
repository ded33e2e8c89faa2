"""Contradictions: where two answers to one question differ, one more question is put, and what came of it is noted."""

from __future__ import annotations

from collections.abc import Iterator

from iterreason.calls import Call, Reply
from iterreason.folding import fold
from iterreason.looking import CallFor, Learn, put
from iterreason.memory import contradictions
from iterreason.records import Contradiction, Evidence, Question, Region, Resolution, SettlingWay, Verdict
from iterreason.state import State, Steps


def settle(state: State, call_for: CallFor, learn: Learn) -> Steps[None]:
    """Put one question about each new contradiction, as far as the policy allows. Raises Ended.

    What the reasoner is to ask is only noted: it reads the note with the evidence.
    """
    for one, other in _new(state):
        if state.settling >= state.policy.contradictions.most:
            return
        if _decided(state, one, other) or (found := _way(state, one)) is None:
            continue
        way, question, place = found
        state.contradicted(Contradiction(one.number, other.number, way))
        if way == "reasoner":
            continue
        yield from put(state, [question], [call_for(state, question, place)], _settling(one, other, learn))


def _settling(one: Evidence, other: Evidence, learn: Learn) -> Learn:
    """Learn what comes of the question, and note which side it speaks for."""

    def learned(state: State, question: Question, call: Call, reply: Reply) -> None:
        learn(state, question, call, reply)
        state.settled(_resolution(state, one, other, state.memory.evidence[-1]))

    return learned


def settle_by_verdict(state: State, verdict: Verdict) -> None:
    """Note which side a verdict takes of the contradictions that the reasoner was shown, once it has asked about them.

    The side that it cites, and only that, stands; citing both or neither leaves it open.
    """
    for shown in state.memory.open_contradictions:
        sides = shown.one, shown.other
        # Shown in this round or the first, the reasoner's question is put in the next.
        since = max(1, *(state.memory[number].round for number in sides))
        asks = bool(verdict.questions) and state.number < state.policy.rounds.max
        if shown.way != "reasoner" or (state.number == since and asks):
            continue
        cited = [number for number in sides if number in verdict.cites]
        prevailed = cited[0] if len(cited) == 1 else None
        state.settled(Resolution(*sides, prevailed, f"the verdict of round {state.number}"))


def _new(state: State) -> Iterator[tuple[Evidence, Evidence]]:
    """The contradictions about which nothing was asked yet, one for each question and place."""
    if not state.policy.contradictions.most:
        return
    memory, same = state.memory, state.plan.same
    asked = [memory[entry.one] for entry in memory.entries if isinstance(entry, Contradiction)]
    for one, other in contradictions(memory, same):
        if not any(_place(one) == _place(known) and same(one.question, known.question) for known in asked):
            asked.append(one)
            yield one, other


def _decided(state: State, one: Evidence, other: Evidence) -> bool:
    """Whether answerers that gave neither side were asked already and decide it, by their weight; noted if so."""
    if "answerer" not in state.policy.contradictions.ways:
        return False
    same = state.plan.same
    others = [
        e
        for e in state.memory.standing
        if e.kind == "answer" and e.model in state.plan.answerers and e.model not in (one.model, other.model)
        if _place(e) == _place(one) and same(e.question, one.question)
    ]
    weights = {
        side.number: sum(
            state.plan.reliability.weight(e.model, e.question) for e in others if same(e.answer, side.answer)
        )
        for side in (one, other)
    }
    if weights[one.number] == weights[other.number]:
        return False
    state.contradicted(Contradiction(one.number, other.number, "answerer"))
    by = "".join(f"[{e.number}]" for e in others)
    state.settled(Resolution(one.number, other.number, max(weights, key=lambda n: weights[n]), by))
    return True


def _way(state: State, one: Evidence) -> tuple[SettlingWay, Question, int] | None:
    """How to settle what this evidence is one side of: the way, the question, and which answerer it is put to."""
    policy = state.policy
    question = Question(one.question, one.image, one.region)
    for way in policy.contradictions.ways:
        if way == "answerer":
            said = [e for e in state.memory.evidence if _place(e) == _place(one)]
            asked = {e.model for e in said if state.plan.same(e.question, one.question)}
            left = [place for place, model in enumerate(state.plan.answerers) if model not in asked]
            if left:
                return way, question, left[0]
        elif way == "zoom" and (region := _region(state, one)):
            return way, Question(one.question, one.image, region), 0
        elif way == "reasoner" and policy.layout == "append" and policy.asks and state.number < policy.rounds.max:
            return way, question, 0
    return None


def _region(state: State, one: Evidence) -> Region | None:
    """Where a tool found what the question names, the likeliest place first; None where no tool did."""
    words = f" {fold(one.question)} "
    found = [
        e
        for e in state.memory.standing
        if e.kind == "found" and e.image == one.image and e.region and f" {fold(e.answer)} " in words
    ]
    best = max(found, key=lambda e: e.probability or 0.0, default=None)
    return best.region if best and best.region != one.region else None


def _resolution(state: State, one: Evidence, other: Evidence, said: Evidence) -> Resolution:
    told = said.answer if said.kind == "answer" else ""
    sides = [side.number for side in (one, other) if state.plan.same(side.answer, told)]
    return Resolution(one.number, other.number, sides[0] if sides else None, f"[{said.number}]")


def _place(found: Evidence) -> tuple[object, ...]:
    return found.image, found.region
