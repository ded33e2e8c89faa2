"""A real local HTTP server that speaks OpenAI chat-completions, and misbehaves when told to.

    with FakeServer() as server:
        server.script(Fault(status=500), "a cat", completion("a", "b"))   # one answer per chat request, in order
        ...
        assert server.chats[0]["temperature"] == 0

Without a script (and after its end) it answers like an honest server with the abilities named at its construction, so
that capability probes find those. An answer is a text, a whole completion (dict), raw bytes, a `Fault`, or a function
of the request's body that gives one of these.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    seconds: to wait first. status, headers, body: of the answer. cut: close the connection after that share of the
    answer's bytes; 0 closes before any.
    """

    seconds: float = 0.0
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str | Body = "out of order"
    cut: float | None = None


Answer = str | Body | bytes | Fault | Callable[[Body], Any]

HTML = Fault(status=200, headers={"Content-Type": "text/html"}, body="<html><body>Welcome to nginx!</body></html>")
GARBAGE = Fault(status=200, headers={"Content-Type": "application/json"}, body="\x00\x17 no JSON at all")


def busy(retry_after: float) -> Fault:
    """A 429 that says when to come back."""
    return Fault(status=429, headers={"Retry-After": str(retry_after)}, body=complaint("too many requests"))


def slow(seconds: float) -> Fault:
    """A good answer, too late."""
    return Fault(seconds=seconds, status=200, body=completion("late"))


def complaint(message: str, **more: Any) -> Body:
    """An OpenAI error body."""
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def completion(*texts: str | None, finish: str | None = "stop", cached: int | None = None, **more: Any) -> Body:
    """A chat completion with one choice per text; `more` goes into each choice."""
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **more}
        for i, text in enumerate(texts)
    ]
    usage: Body = {"prompt_tokens": 12, "completion_tokens": 3 * len(texts), "total_tokens": 12 + 3 * len(texts)}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return {"id": "fake", "object": "chat.completion", "model": "fake", "choices": choices, "usage": usage}


def logprobs(*tokens: tuple[str, float], top: dict[str, float] | None = None) -> Body:
    """The `logprobs` of a choice: its tokens, and the alternatives at the first (none for others)."""
    alternatives = [{"token": token, "logprob": value} for token, value in (top or {}).items()]
    content = [
        {"token": token, "logprob": value, "top_logprobs": alternatives if i == 0 else []}
        for i, (token, value) in enumerate(tokens)
    ]
    return {"content": content}


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # the default of 5 would drop many connections that come at once


class FakeServer:
    """The server: start it with `with`; `url` is its base URL, `chats` and `headers` (names in lower case)
    are what the chat requests held, in order of arrival; `list_headers`, what the requests for the list of models held.

    models: served names; None answers 404 to the list. images, schema, logprobs: abilities; vllm: those that only vLLM
    has. samples: several at once. most_top: the largest top_logprobs it takes; more is a 400. entry: more fields of
    each entry in the list of models. models_answer: given instead of that list.
    """

    def __init__(
        self,
        *,
        models: tuple[str, ...] | None = ("m",),
        images: bool = True,
        schema: bool = True,
        logprobs: bool = True,
        vllm: bool = False,
        samples: bool = True,
        most_top: int = 20,
        entry: Body | None = None,
        models_answer: Answer | None = None,
    ) -> None:
        self.models, self.images, self.schema, self.logprobs, self.most_top = models, images, schema, logprobs, most_top
        self.vllm, self.samples = vllm, samples
        self.entry, self.models_answer = entry or {}, models_answer
        self.chats: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.list_headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._script: deque[Answer] = deque()
        self._forever: Answer | None = None
        self._lock = threading.Lock()
        self._http = _Listener(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._http.server_address[1])

    def uri(self, model: str = "m") -> str:
        """The model URI of a model on this server."""
        return f"openai:{model}@{self.url}"

    def script(self, *answers: Answer, forever: Answer | None = None) -> None:
        """Answer the next chat requests with these, in order, then all further ones with `forever`.

        Forgets what was recorded before.
        """
        with self._lock:
            self.chats.clear()
            self.headers.clear()
            self._script, self._forever = deque(answers), forever

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer_chat(self, body: Body, headers: dict[str, str]) -> Answer:
        """Record a chat request and choose its answer."""
        with self._lock:
            self.chats.append(body)
            self.headers.append(headers)
            chosen = self._script.popleft() if self._script else self._forever
        return chosen if chosen is not None else self.honest(body)

    def answer_models(self) -> Answer:
        """The list of models."""
        if self.models_answer is not None:
            return self.models_answer
        if self.models is None:
            return Fault(status=404, body=complaint("no such route"))
        return {"object": "list", "data": [{"id": m, "object": "model", **self.entry} for m in self.models]}

    def honest(self, body: Body) -> Answer:
        """What a server with this one's abilities answers."""
        has_image = any(isinstance(message["content"], list) for message in body["messages"])
        if has_image and not self.images:
            return Fault(status=400, body=complaint("m is not a multimodal model"))
        if body.get("top_logprobs", 0) > self.most_top:
            return Fault(status=400, body=complaint(f"top_logprobs is greater than the maximum {self.most_top}"))
        text = "Paris"
        if self.schema and (form := body.get("response_format")):
            text = json.dumps(_instance(form["json_schema"]["schema"]))
        if self.vllm and (held := body.get("structured_outputs")):
            text = held["choice"][0]
        measured = self.logprobs and body.get("logprobs")
        more: Body = {"logprobs": logprobs(("Paris", -0.1), top={"Paris": -0.1, "A": -2.5})} if measured else {}
        answer = completion(*[text] * (body.get("n", 1) if self.samples else 1), **more)
        if self.vllm:
            answer["usage"]["prompt_tokens_details"] = {"cached_tokens": 0}
            answer["prompt_logprobs"] = _read(body) if "prompt_logprobs" in body else None
        answer["usage"]["prompt_tokens"] += 64 * has_image
        return answer

    def busier(self, change: int) -> None:
        """Count the chat requests in flight."""
        with self._lock:
            self._at_once += change
            self.most_at_once = max(self.most_at_once, self._at_once)


def _read(body: Body) -> list[Body | None]:
    """The log-probabilities of a prompt whose last message has a token for each word, and then one that ends it."""
    words = [*str(body["messages"][-1]["content"]).split(" "), "<end>"]
    told = [{"decoded_token": " " * (n > 0) * (word != "<end>") + word, "logprob": -0.5 * len(word), "rank": 1}
            for n, word in enumerate(words)]  # fmt: skip
    return [None, *({str(n): token} for n, token in enumerate(told, 7))]


def _instance(schema: Body) -> Any:
    """The simplest value that follows a schema of objects, enums and strings."""
    if "enum" in schema:
        return schema["enum"][0]
    if "prefixItems" in schema:
        return [_instance(part) for part in schema["prefixItems"]]
    if schema.get("type") == "object":
        return {name: _instance(part) for name, part in schema.get("properties", {}).items()}
    return ""


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            found = self.path == "/v1/models"
            fake.list_headers.append({k.lower(): v for k, v in self.headers.items()})
            self._give(fake.answer_models() if found else Fault(status=404, body="<html>not found</html>"), {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/tokenize":  # vLLM's; a token a byte
                text = "".join(f"<{m['role']}>{m['content']}" for m in body["messages"])
                return self._give({"tokens": list((text + "<>" * body["add_generation_prompt"]).encode())}, body)
            if self.path != "/v1/chat/completions":
                return self._give(Fault(status=404, body=complaint("no such route")), body)
            fake.busier(+1)
            try:
                self._give(fake.answer_chat(body, {k.lower(): v for k, v in self.headers.items()}), body)
            finally:
                fake.busier(-1)

        def _give(self, answer: Answer, body: Body) -> None:
            if callable(answer):
                return self._give(answer(body), body)
            fault = answer if isinstance(answer, Fault) else Fault(status=200, body="")
            content = fault.body if isinstance(answer, Fault) else answer
            time.sleep(fault.seconds)
            if isinstance(content, str) and not isinstance(answer, Fault):
                content = completion(content)
            streamed = bool(body.get("stream")) and isinstance(content, dict) and "choices" in content
            kind = {"Content-Type": "text/event-stream" if streamed else "application/json"}
            raw = events(content) if streamed else _encoded(content)  # type: ignore[arg-type]
            self._write(fault, kind | fault.headers, raw)

        def _write(self, fault: Fault, headers: dict[str, str], raw: bytes) -> None:
            lines = [f"HTTP/1.1 {fault.status} Whatever", *(f"{k}: {v}" for k, v in headers.items())]
            message = "\r\n".join([*lines, f"Content-Length: {len(raw)}", "", ""]).encode() + raw
            if fault.cut is not None:
                message = message[: int(len(message) * fault.cut)]
                self.close_connection = True
            try:
                self.wfile.write(message)
            except OSError:  # the client gave up first
                self.close_connection = True

    return Handler


def _encoded(content: str | Body | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def events(whole: Body, pieces: int = 3) -> bytes:
    """A completion as a stream of server-sent events, each text in `pieces` pieces."""
    chunks: list[Body] = []
    for choice in whole["choices"]:
        text, index, tokens = choice["message"]["content"] or "", choice["index"], choice.get("logprobs")
        size = max(1, -(-len(text) // pieces))
        for start in range(0, len(text), size):
            delta = {"role": "assistant", "content": text[start : start + size]}
            chunks.append({"index": index, "delta": delta, "logprobs": None if start else tokens})
        chunks.append({"index": index, "delta": {}, "finish_reason": choice["finish_reason"]})
    bodies: list[Body] = [{"object": "chat.completion.chunk", "choices": [chunk]} for chunk in chunks]
    bodies.append({"object": "chat.completion.chunk", "choices": [], "usage": whole["usage"]})
    return b"".join(b"data: " + json.dumps(b).encode() + b"\n\n" for b in bodies) + b"data: [DONE]\n\n"
