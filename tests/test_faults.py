"""Many problems through a proxy that spoils a tenth of all requests, and through a server that is killed in between."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, completion, logprobs
from faulty_proxy import KINDS, FaultyProxy
from PIL import Image as Pixels
from written import policy, verdict

from iterreason.api import Reasoner, make_problem
from iterreason.calls import Capabilities
from iterreason.models.server import Server
from iterreason.records import Problem, Result

PROBLEMS = 200
CALLS = 4  # of an episode: a look, a generation, a look, a generation
WORK = 0.06  # seconds that the server behind takes for a reply
pytestmark = pytest.mark.usefixtures("bare_environment")


class Waited(Server):
    """A server that is not probed, with a time-out that the proxy's stalls outlast."""

    def __init__(self, url: str) -> None:
        super().__init__(f"openai:m@{url}", timeout=0.8, retries=5)

    def capabilities(self) -> Capabilities:
        return Capabilities("m", images=True, schema=True, logprobs=True, scores=True)


def right(number: int) -> str:
    """The answer of a problem; a text of another problem, or half a text, gives another."""
    return "yes" if number * 7 % 3 else "no"


def served(body: dict[str, Any]) -> Any:
    """What the server behind answers: it knows a problem by the number in its prompt."""
    time.sleep(WORK)
    last = body["messages"][-1]["content"]
    texts = [part["text"] for part in last if part["type"] == "text"] if isinstance(last, list) else [last]
    told = texts if isinstance(last, list) else [str(m["content"]) for m in body["messages"]]
    number = int(next(re.findall(r"thing (\d+)", text)[-1] for text in reversed(told) if "thing " in text))
    if "response_format" in body:
        return completion(verdict(right(number), f"Is thing {number} round {len(body['messages'])}?"))
    return completion(f"{right(number)}, it is thing {number}", logprobs=logprobs(("yes", -0.2)))


@dataclass(frozen=True)
class Run:
    """A batch that came to an end."""

    results: list[Result]
    seconds: float

    @property
    def failed(self) -> list[str]:
        """The reasons of those that ended with an error."""
        return [result.error for result in self.results if result.error]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy `evidence` with two rounds of one question, no caption, read-out or examples: less to wait for."""
    text = policy(
        "evidence",
        max="max = 2",
        questions="questions = 1",
        first='first = ["question"]',
        confidence='confidence = ["agreement"]',
        abstain_below="abstain_below = 0.0",
    ).text
    path = tmp_path_factory.mktemp("policies") / "short.toml"
    path.write_text(text.partition("[[examples]]")[0], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    """Two problems about each of a hundred images."""
    return [
        make_problem(Pixels.new("RGB", (8, 8), (n // 2, 0, 0)), f"Is it thing {n} ?", ["yes", "no"], id=str(n))
        for n in range(PROBLEMS)
    ]


def run(url: str, short: Path, problems: list[Problem]) -> Run:
    """Solve all problems with one server in both roles."""
    began = time.perf_counter()
    with Reasoner(Waited(url), "same", policy=str(short)) as reasoner:
        results = reasoner.batch(problems)
    return Run(results, time.perf_counter() - began)


def check(done: Run, problems: list[Problem]) -> None:
    """Each problem has its one result: the right answer from replies about this problem alone, or a reason."""
    assert [result.problem for result in done.results] == problems
    for number, result in enumerate(done.results):
        if result.error:
            assert result.answer is None
            continue
        assert result.answer == right(number)
        assert len(result.rounds) == 2
        assert len(result.memory) == 2
        assert all(e.answer == f"{right(number)}, it is thing {number}" for e in result.memory.evidence)


def test_a_tenth_of_the_requests_spoiled_loses_nothing(short: Path, problems: list[Problem]):
    """With delays, stalls, drops, cut replies, 500s and 429s in a tenth of all requests every problem is accounted for,
    none with a random answer, within three times the time that it takes without them."""
    with FakeServer() as fake:
        fake.script(forever=served)
        with FaultyProxy(fake.port, share=0) as smooth:
            plain = run(smooth.url, short, problems)
        with FaultyProxy(fake.port, share=0.1) as rough:
            faulty = run(rough.url, short, problems)
    check(plain, problems)
    check(faulty, problems)
    assert plain.failed == []
    assert smooth.requests == CALLS * PROBLEMS
    assert set(rough.met) == set(KINDS)
    assert rough.met.total() > 0.08 * CALLS * PROBLEMS
    assert len(faulty.failed) <= 2, faulty.failed
    assert faulty.seconds < 3 * plain.seconds


def test_a_server_killed_in_the_middle_is_survived(short: Path, problems: list[Problem]):
    """A server that dies with calls in flight and comes back a second later costs time and no problem."""
    with FakeServer() as fake, FaultyProxy(fake.port, share=0) as proxy:
        fake.script(forever=served)

        def kill_and_restart() -> None:
            while proxy.requests < CALLS * PROBLEMS // 4:
                time.sleep(0.005)
            proxy.kill()
            time.sleep(1.0)
            proxy.restart()

        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        done = run(proxy.url, short, problems)
        killer.join()
    assert proxy.kills == 1
    check(done, problems)
    assert done.failed == []
