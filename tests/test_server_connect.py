"""Naming a server, its key, and finding out what it can do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from fake_server import GARBAGE, HTML, Answer, Body, FakeServer, Fault, busy, complaint, completion, slow
from server_calls import ASK, ask, found

from iterreason.calls import Capabilities, Reply
from iterreason.errors import BadConfig, Misuse, ModelFailed, UnknownModel
from iterreason.models.address import HOSTED, Address, parse_uri
from iterreason.models.server import Server

SECRET = "sk-very-secret-0123456789abcdef"


pytestmark = pytest.mark.usefixtures("bare_environment")


# ------------------------------------------------------------------ URIs and keys


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("openai:m@http://host:8000/v1", Address("m", "http://host:8000/v1")),
        ("openai:m@https://host/v1/", Address("m", "https://host/v1")),
        ("openai:org/some:tag@v2@http://h:1/v1", Address("org/some:tag@v2", "http://h:1/v1")),
        ("openai:m@http-ish@http://h:1/v1", Address("m@http-ish", "http://h:1/v1")),
        ("openai:gpt", Address("gpt", HOSTED)),
    ],
)
def test_a_uri_splits_at_the_last_server(uri: str, address: Address) -> None:
    """A model's name may hold slashes, colons and at-signs; the server is what follows the last `@http`."""
    assert parse_uri(uri) == address


@pytest.mark.parametrize(
    "uri",
    [
        "openai:",
        "openai: m@http://h/v1",
        "openai:@http://h/v1",
        "vllm:m@http://h/v1",
        "openai:m@localhost:8000",
        "openai:m@127.0.0.1:8000/v1",
        "openai:m@ftp://host/v1",
        "openai:m@http://",
        "openai:m@http://h:port/v1",
        "openai:m@http://[::1/v1",
        "openai:m@http://a b/v1",
        f"openai:m@http://user:{SECRET}@host/v1",
        f"openai:m@https://host/v1?key={SECRET}",
    ],
)
def test_a_bad_uri_says_the_right_form(uri: str) -> None:
    """A URI that names no model or server is refused with the right form, and without any key that was in it."""
    with pytest.raises(UnknownModel, match="write openai:MODEL@http://host:port/v1") as caught:
        Server(uri)
    assert SECRET not in str(caught.value)


def test_the_base_url_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`openai:MODEL` goes to OPENAI_BASE_URL where it is set, which must be a URL."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert repr(Server("openai:m")) == "Server('openai:m@http://127.0.0.1:9/v1')"
    monkeypatch.setenv("OPENAI_BASE_URL", "nonsense")
    with pytest.raises(BadConfig, match="OPENAI_BASE_URL 'nonsense'"):
        Server("openai:m")


def test_the_hosted_api_wants_a_key() -> None:
    """Without a key the hosted API is refused before any request, by the variable's name."""
    with pytest.raises(Misuse, match="set ITERREASON_API_KEY or OPENAI_API_KEY"):
        Server("openai:gpt")


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, "none"),
        ({"OPENAI_API_KEY": "theirs"}, "none"),
        ({"OPENAI_API_KEY": "theirs", "OPENAI_BASE_URL": "the fake server's"}, "theirs"),
        ({"OPENAI_API_KEY": "theirs", "ITERREASON_API_KEY": "ours\n"}, "ours"),
    ],
)
def test_the_key_comes_from_the_environment(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sent: str
) -> None:
    """ITERREASON_API_KEY goes to any server, OPENAI_API_KEY only to the one that OPENAI_BASE_URL names."""
    for name, value in variables.items():
        monkeypatch.setenv(name, fake.url if name == "OPENAI_BASE_URL" else value)
    assert ask(fake).error is None
    assert fake.headers[0]["authorization"] == f"Bearer {sent}"


@pytest.mark.parametrize("own", [False, True])
def test_who_we_are_is_told_only_where_the_key_goes(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Organization, project and custom headers of the environment reach no server but the one at OPENAI_BASE_URL."""
    monkeypatch.setenv("OPENAI_ORG_ID", f"org-{SECRET}")
    monkeypatch.setenv("OPENAI_PROJECT_ID", f"proj-{SECRET}")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", f"admin-{SECRET}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Ours: {SECRET}\nUser-Agent: {SECRET}\nauthorization: {SECRET}")
    if own:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
    assert found(fake).schema
    assert ask(fake).error is None
    assert ask(fake, on_text=lambda _: None).error is None
    arrived = [*fake.headers, *fake.list_headers]
    assert len(arrived) == len(fake.chats) + 1 > 6
    if own:
        assert {(h["openai-organization"], h["x-ours"]) for h in arrived} == {(f"org-{SECRET}", SECRET)}
    else:
        assert SECRET not in str(arrived)
        assert not {"openai-organization", "openai-project", "x-ours"} & {name for h in arrived for name in h}


def test_a_key_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with blanks or quotes in it is the user's mistake; the error does not repeat it."""
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET} \n{SECRET}")
    with pytest.raises(BadConfig, match="OPENAI_API_KEY holds blanks") as caught:
        Server("openai:gpt")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("padding", [0, 240, 270, 290])
@pytest.mark.parametrize("status", [200, 400, 401])
def test_a_server_that_echoes_the_key_does_not_spread_it(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int, padding: int
) -> None:
    """The key is blotted out of replies, exceptions (their causes too) and logs, also where the text is cut."""
    monkeypatch.setenv("ITERREASON_API_KEY", SECRET)
    echo = "x" * padding + f" bad key {SECRET} "
    fault = Fault(status=status, body=complaint(echo) if status != 200 else echo)
    fake.models_answer = fault
    fake.script(forever=fault)

    async def meet() -> tuple[Reply, ModelFailed, str]:
        model = Server(fake.uri(), retries=0)
        reply = await model.complete(ASK)
        with pytest.raises(ModelFailed) as caught:
            await model.connect()
        await model.close()
        return reply, caught.value, repr(model)

    with caplog.at_level(logging.DEBUG):
        reply, failure, shown = asyncio.run(meet())
    assert reply.error
    assert len(reply.error) <= 300
    assert failure.__context__ is None
    assert failure.__cause__ is None
    for text in (repr(reply), str(failure), shown, caplog.text):
        assert SECRET[:8] not in text


# ------------------------------------------------------------------ connecting


def test_connecting_finds_out_what_the_server_can_do() -> None:
    """An able server is found able, with the context length that vLLM tells, by a test request for each ability."""
    with FakeServer(vllm=True, entry={"max_model_len": 2048, "root": "m"}) as fake:
        assert found(fake) == Capabilities(
            f"openai:m@{fake.url}", images=True, schema=True, logprobs=True, scores=True, ranks=True, holds=True,
            samples=True, cached_tokens=True, context_tokens=2048,
        )  # fmt: skip
        assert len(fake.chats) == 6


def test_a_server_with_adapters_is_not_asked_for_what_kills_it() -> None:
    """vLLM with adapters may die of a request for a prompt's log-probabilities; such a server is not sent one."""
    with FakeServer(vllm=True, entry={"parent": "base"}) as fake:
        assert not found(fake).ranks
        assert fake.chats
        assert not any("prompt_logprobs" in body for body in fake.chats)


def test_a_server_that_tells_cached_tokens_only_where_there_are_some_is_found_out() -> None:
    """The count of cached tokens may be left out while it is 0; a long prompt sent twice brings it to light."""
    seen: set[str] = set()

    def older(body: Body) -> Answer:
        asked = str(body["messages"])
        cached = 96 if asked in seen and len(asked) > 800 else None
        seen.add(asked)
        return completion("Paris", cached=cached)

    with FakeServer() as fake:
        fake.script(forever=older)
        assert found(fake) == Capabilities(f"openai:m@{fake.url}", cached_tokens=True)


def test_fields_that_a_server_ignores_are_not_capabilities() -> None:
    """A server that accepts every field and honours none can only chat."""
    with FakeServer() as fake:
        fake.script(forever="Paris")
        able = found(fake)
    assert able == Capabilities(f"openai:m@{fake.url}")


def test_a_server_without_a_list_of_models_is_accepted() -> None:
    """The list of models is a help, not a condition."""
    with FakeServer(models=None, images=False, logprobs=False, schema=False, samples=False) as fake:
        assert found(fake, "anything") == Capabilities(f"openai:anything@{fake.url}")


def test_refusals_of_every_extra_leave_a_plain_chat() -> None:
    """A server that answers 400 or 500 to all extras is asked for a plain chat before it is given up."""
    plain: Callable[[Body], Answer] = lambda body: (  # noqa: E731
        "Paris" if set(body) <= {"model", "messages", "temperature", "max_tokens"} and _text_only(body) else Fault()
    )
    with FakeServer() as fake:
        fake.script(forever=plain)
        assert found(fake) == Capabilities(f"openai:m@{fake.url}")


def _text_only(body: Body) -> bool:
    return all(isinstance(message["content"], str) for message in body["messages"])


def test_other_weights_under_one_name_are_another_model() -> None:
    """The name in traces and caches changes with the weights that vLLM says it serves."""
    names = set()
    for root in ("/weights/a", "/weights/b", "m"):
        with FakeServer(entry={"root": root}) as fake:
            names.add(found(fake).model.removeprefix(f"openai:m@{fake.url}"))
    assert len(names) == 3
    assert "" in names


def test_a_model_that_is_not_served_is_named_beside_those_that_are() -> None:
    """A misspelt model is an error that names the served ones."""
    with FakeServer(models=("qwen-vl", "llama")) as fake, pytest.raises(UnknownModel, match="did you mean 'qwen-vl'"):
        found(fake, "qwen-v")


def test_a_server_that_is_down_is_told_apart() -> None:
    """Nobody listening: the error says where, why, and how to start one."""
    with FakeServer() as fake:
        pass
    with pytest.raises(ModelFailed, match=r"cannot reach http://127.*: connection refused; is it running\? \(vllm"):
        found(fake)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HTML, "HTML instead of JSON"),
        (GARBAGE, "unreadable"),
        ({"data": None}, "unreadable"),
        (Fault(status=401, body=complaint("no")), "set ITERREASON_API_KEY or OPENAI_API_KEY"),
        (Fault(status=500), "HTTP 500: out of order; see the server's log"),
        (Fault(cut=0.5), "connection failed"),
        (Fault(seconds=5.0), "time-out"),
    ],
)
def test_a_broken_list_of_models_fails_to_connect(answer: Answer, words: str) -> None:
    """A server that answers, but not as one should, is a failure with its reason."""
    with FakeServer(models_answer=answer) as fake, pytest.raises(ModelFailed, match=words):
        found(fake, timeout=0.3 if words == "time-out" else 5.0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (GARBAGE, "unreadable"),
        (busy(0.01), "HTTP 429"),
        (Fault(status=404, body="<html>"), "HTTP 404: an HTML page; does the URL end in /v1"),
        (slow(5.0), "time-out"),
    ],
)
def test_a_probe_without_an_answer_is_no_finding(fake: FakeServer, answer: Answer, words: str) -> None:
    """A passing failure never counts as a missing capability: connecting fails."""
    fake.script(forever=answer)
    with pytest.raises(ModelFailed, match=words):
        found(fake, timeout=0.3 if words == "time-out" else 5.0)
