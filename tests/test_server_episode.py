"""Whole episodes over a real HTTP server, and every way in which a server can spoil one."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import GARBAGE, HTML, FakeServer, Fault, busy, completion, logprobs, slow
from PIL import Image as Pixels
from written import verdict

from iterreason import Reasoner, make_problem
from iterreason.calls import Capabilities
from iterreason.errors import EpisodeFailed
from iterreason.models.server import Server


class Impatient(Server):
    """A server that is not probed, and waited for half a second at most."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri, timeout=0.5, retries=1)

    def capabilities(self) -> Capabilities:
        return Capabilities("m", images=True, schema=True, logprobs=True, scores=True)


def model_of(replies: list[str]) -> Any:
    """A vision-language model that plays both roles: verdicts in order, looks and read-outs by the request's form."""

    def answer(body: dict[str, Any]) -> Any:
        if "response_format" in body:
            return completion(replies.pop(0), cached=8)
        if body.get("top_logprobs") and body["max_tokens"] == 1:
            return completion("A", logprobs=logprobs(("A", -0.05), top={"A": -0.05, " B": -3.2}))
        return completion("two", logprobs=logprobs(("two", -0.2)))

    return answer


def question(number: int = 0):
    return make_problem(Pixels.new("RGB", (48, 48), (200, number, 0)), "Is it red?", ["yes", "no"], id=str(number))


def test_one_vlm_behind_a_server_plays_both_roles():
    """The whole policy runs over HTTP: looks carry the image before the text, each round's request starts with the
    messages of the one before, cached tokens are counted, and the read-out's letters become the confidence."""
    with FakeServer() as fake, Reasoner(fake.uri(), "same") as reasoner:
        reasoner.open()
        fake.script(forever=model_of([verdict("yes", "how many?"), verdict("yes", "how big?", cites=(3,))]))
        result = reasoner.solve(question())
        bodies = list(fake.chats)
    assert (result.answer, len(result.rounds)) == ("yes", 2)
    assert result.confidence == pytest.approx(0.959, abs=0.001)
    assert result.usage.cached_tokens == 16
    assert [e.answer for e in result.memory.evidence] == ["two", "two", "two"]
    looks = [b for b in bodies if isinstance(b["messages"][0]["content"], list)]
    assert [[part["type"] for part in b["messages"][0]["content"]] for b in looks] == [["image_url", "text"]] * 3
    first, second = (b["messages"] for b in bodies if "response_format" in b)
    assert second[: len(first)] == first
    assert second[len(first)]["role"] == "assistant"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(status=500), "500"),
        (busy(0.01), "429"),
        (HTML, "HTML"),
        (GARBAGE, "JSON"),
        (Fault(status=200, body=completion("x"), cut=0.6), r"\w"),
        (Fault(cut=0.0), r"\w"),
        (slow(5), "timed out|time"),
        (Fault(status=400, body={"error": {"message": "no such thing"}}), "no such thing"),
    ],
)
def test_a_server_that_fails_ends_its_episode_with_the_reason(fault, why):
    """Down, slow, 429, 500, garbage, HTML, half a JSON, closed midway: an `error` with its reason, never an answer."""

    with FakeServer() as fake, Reasoner(Impatient(fake.uri()), "same", policy="direct") as reasoner:
        fake.script(forever=fault)
        with pytest.raises(EpisodeFailed, match=why) as caught:
            reasoner.solve(question())
    assert caught.value.result.answer is None


def test_a_batch_with_faults_accounts_for_every_problem():
    """Of many problems over a server that fails now and then, each ends as an answer or an error with its reason."""
    count = 0

    def now_and_then(body: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        if count % 7 == 0:
            return Fault(status=400, body={"error": {"message": "unlucky"}})
        return completion("yes", logprobs=logprobs(("yes", -0.1)))

    with FakeServer() as fake, Reasoner("scripted:none", fake.uri(), policy="direct") as reasoner:
        reasoner.open()
        fake.script(forever=now_and_then)
        results = reasoner.batch([question(n) for n in range(40)])
    assert [r.problem.id for r in results] == [str(n) for n in range(40)]
    assert all((r.answer == "yes") != bool(r.error and "unlucky" in r.error) for r in results)
    assert sum(r.error is not None for r in results) == count // 7
