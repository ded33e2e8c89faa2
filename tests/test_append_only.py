"""Prompts only grow: what a prefix cache can reuse is a property of every policy, not of luck."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written import ABLE, Script, plan, problem, said, scored, verdict

from iterreason.calls import Asked, Reply, Told, Vetoed
from iterreason.loop import episode
from iterreason.plan import Plan, resolve
from iterreason.policy import find_policy, read_policy, shipped
from iterreason.prompts import evidence_lines
from iterreason.records import Question


def changed(table: str) -> Plan:
    """`evidence` with one more table, over two answerers."""
    head, mark, tail = find_policy("evidence").text.partition("[rounds]")
    second = replace(ABLE, model="second")
    return resolve(read_policy(f"{head}{table}\n{mark}{tail}", "evidence"), ABLE, [ABLE, second])


OPEN = problem("What is it?", ())
APPEND = {name: (plan(name), problem()) for name in shipped() if find_policy(name).policy.layout == "append"} | {
    "contradictions": (changed('[contradictions]\nmost = 2\nways = ["answerer", "reasoner"]'), problem()),
    "belief": (changed('[belief]\nsame = "reasoner"'), OPEN),
}

words = st.sampled_from(
    ["red", "blue", "circle", "$question", "{x}", "¿qué?", "猫", "[1]", "\n", '"', "probability 0.9"]
)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join)
questions = st.lists(texts, max_size=4)
good = st.builds(
    lambda answer, asked, cites: verdict(answer, *asked, cites=cites),
    st.sampled_from(["yes", "no"]),
    questions,
    st.lists(st.integers(-1, 30), max_size=3),
)
bad = st.sampled_from(["", "1. one\n2. two", '{"answer": "yes"', "x" * 2_000, '{"answer": "maybe"}'])
notes = st.lists(
    st.one_of(
        st.builds(Told, texts),
        st.builds(Vetoed, st.integers(0, 12)),
        st.builds(Asked, st.builds(Question, st.one_of(texts, st.just(problem().question)))),  # what is known, too
    ),
    max_size=2,
).map(tuple)


class Odd(Script):
    """A script that never runs out, with looks that answer, fail and say nothing."""

    def reply(self, call) -> Reply:
        if call.look is None and call.purpose != "readout" and not self.generations:
            return said(verdict("yes"))
        return super().reply(call)


@pytest.mark.parametrize("name", APPEND)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_prompt_starts_with_the_one_before_it(name, data):
    """In the layout `append`, round r+1 starts with all messages of round r, its reply included; a branch starts with
    them too and never enters a later round."""
    replies = data.draw(st.lists(st.one_of(good, good, good, bad), max_size=8))
    fitted, about = APPEND[name]
    looks = st.lists(st.one_of(st.just("yes"), st.just("no"), texts, st.just(Reply(error="broken"))), max_size=8)
    answers = iter(data.draw(looks))
    said_by_a_person = data.draw(st.dictionaries(st.integers(1, 12), notes, max_size=4))
    script = Odd(replies, scored(0.6, 0.4), lambda q: next(answers, "yes"), said_by_a_person)
    result = script.play(episode(about, fitted))

    trunk = None
    for call in script.calls:
        if call.slot != "reasoner":
            continue
        if trunk is not None:
            assert call.prompt.starts_with(trunk), f"{call.purpose} does not start with the round before it"
        if call.purpose == "generation":
            if trunk is not None:
                assert call.prompt.messages[trunk.length].role == "assistant"
            trunk = call.prompt
    branches = [c.prompt.digest for c in script.calls if c.purpose in ("reask", "readout")]
    trunks = [d for c in script.calls if c.purpose == "generation" for d in c.prompt.digests]
    assert not set(branches) & set(trunks)
    assert [e.number for e in result.memory.evidence] == list(range(1, len(result.memory) + 1))


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_evidence_is_rendered_once_and_never_again(data):
    """What the reasoner has read of the memory stays word for word, whatever is found or withdrawn later."""
    replies = data.draw(st.lists(good, min_size=2, max_size=6))
    said_by_a_person = data.draw(st.dictionaries(st.integers(1, 12), notes, max_size=4))
    script = Odd(replies, scored(0.6, 0.4), notes=said_by_a_person)
    result = script.play(episode(problem(), plan("evidence")))
    generations = [c for c in script.calls if c.purpose == "generation"]
    last = "\n".join(m.text for m in generations[-1].prompt.messages[plan().opening.length :] if m.role == "user")
    shown = [line for line in last.splitlines() if line.startswith("[")]
    assert shown == evidence_lines(result.memory.entries, 1).splitlines()[: len(shown)]


@given(st.lists(texts, min_size=1, max_size=5), st.integers(0, 4))
def test_the_digest_of_a_prompt_does_not_depend_on_how_it_grew(lines, cut):
    """Equal messages give equal digests, different ones do not."""
    from iterreason.calls import EMPTY_PROMPT

    whole = EMPTY_PROMPT
    for line in lines:
        whole = whole.plus("user", line)
    again = EMPTY_PROMPT
    for line in lines:
        again = again.plus("user", line)
    assert whole.digest == again.digest
    assert whole.plus("user", "a", "b").digest != whole.plus("user", "a\nb").digest
    assert whole.plus("user", "a").digest != whole.plus("assistant", "a").digest
    assert [m.text for m in whole.messages] == lines
    assert whole.digests[min(cut, len(lines) - 1)] != whole.plus("user", "").digest
