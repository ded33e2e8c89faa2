"""The chat-completions wire format: calls to request bodies, response bodies to replies. No I/O."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from iterreason.calls import Call, Message, Reply, Sample, Sampling, Tokens, digest
from iterreason.models.ranking import Read, Reading

TOP_LOGPROBS = 20  # alternatives asked for at the first token of a read-out; OpenAI's and vLLM's upper bound
FEWER_TOP_LOGPROBS = 5  # what older and stricter servers still allow

Request = dict[str, Any]
Form = TypeVar("Form", bound=BaseModel)


class Unreadable(Exception):
    """The server's body is not a chat completion."""


# ------------------------------------------------------------------ requests


def request(call: Call, model: str, logprobs: bool) -> Request:
    """The body to send for a call.

    logprobs: whether to ask for token log-probabilities; a read-out with choices always asks.
    """
    sampling = call.sampling
    body: Request = {
        "model": model,
        "messages": [_message(m) for m in call.prompt.messages],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "n": sampling.n,
    }
    if sampling.seed is not None:
        body["seed"] = seed(sampling.seed, call.sample)
    if call.schema:
        schema = {"name": "reply", "strict": True, "schema": json.loads(call.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if scored(call):
        body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    elif logprobs:
        body["logprobs"] = True
    return body


def scored(call: Call) -> bool:
    """Whether a call's choices are scored by the first token: a read-out's letters are, a look's answers are not."""
    return call.purpose == "readout" and bool(call.choices)


def held_to(choices: Sequence[str]) -> Request:
    """The field that makes a server reply with exactly one of these texts: vLLM's.

    Today's servers ignore its older name, `guided_choice`, without a word, as others do with any field they lack.
    """
    return {"structured_outputs": {"choice": list(choices)}}


def reading(call: Call, model: str, reply: str) -> Request:
    """The body that has a server read the call's prompt with this reply."""
    return as_said(request(replace(call, sampling=Sampling(max_tokens=1)), model, logprobs=False), reply)


def as_said(body: Request, reply: str) -> Request:
    """The body with this as the model's reply, asking for the log-probabilities of the prompt's tokens (vLLM's)."""
    said = {"role": "assistant", "content": reply}
    return body | {"messages": [*body["messages"], said], "add_generation_prompt": False, "prompt_logprobs": 0}


def single(body: Request, call: Call, number: int) -> Request:
    """The body to send for one of a call's samples alone (0-based)."""
    seeded = {} if call.sampling.seed is None else {"seed": seed(call.sampling.seed, call.sample, number)}
    return body | {"n": 1} | seeded


def seed(seed: int, *place: int) -> int:
    """The seed to send: calls that differ only in their sample index must not draw the same sample.

    place: the call's sample index, then the sample's number where it is asked for alone; all 0 for the seed itself.
    """
    while place and place[-1] == 0:
        place = place[:-1]
    return int(digest(seed, *place)[:8], 16) >> 1 if place else seed


def _message(message: Message) -> Request:
    if not message.views:
        return {"role": message.role, "content": message.text}
    from iterreason.images import data_url

    parts: list[Request] = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": data_url(part)}}
        for part in message.parts
    ]
    return {"role": message.role, "content": parts}


@dataclass(slots=True)
class Dialect:
    """What a server was found to want instead of the common form; learned from its complaints (HTTP 400).

    singles: whether it gives fewer samples than asked, so that each is asked for alone; learned from its replies.
    greedy_alone: whether it refuses several samples at temperature 0, as vLLM does.
    """

    tokens_field: str = "max_tokens"
    top_logprobs: int = TOP_LOGPROBS
    singles: bool = False
    greedy_alone: bool = False

    def fit(self, body: Request) -> Request:
        """The body in this server's form."""
        fitted = dict(body)
        fitted[self.tokens_field] = fitted.pop("max_tokens")
        if "top_logprobs" in fitted:
            fitted["top_logprobs"] = min(fitted["top_logprobs"], self.top_logprobs)
        if self.greedy_alone and fitted["temperature"] == 0:
            fitted["n"] = 1
        return fitted

    def learn(self, sent: Request, complaint: str) -> bool:
        """Take a complaint about a fitted body; whether fitting it again will change it."""
        if "max_completion_tokens" in complaint and "max_tokens" in sent:
            self.tokens_field = "max_completion_tokens"
        elif "logprobs" in complaint and sent.get("top_logprobs", 0) > FEWER_TOP_LOGPROBS:
            self.top_logprobs = FEWER_TOP_LOGPROBS
        elif "greedy" in complaint and sent.get("n", 1) > 1:
            self.greedy_alone = True
        else:
            return False
        return True


# ------------------------------------------------------------------ responses


class Alternative(BaseModel):
    """A token and its natural log-probability."""

    token: str
    logprob: float


class Token(Alternative):
    """A generated token and the likeliest alternatives in its place."""

    top_logprobs: list[Alternative] | None = None


class Logprobs(BaseModel):
    """The log-probabilities of a choice."""

    content: list[Token] | None = None


class Content(BaseModel):
    """The message of a choice, or its delta in a stream."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One of the n samples, or a piece of it in a stream."""

    index: int = 0
    message: Content = Field(validation_alias=AliasChoices("message", "delta"))
    logprobs: Logprobs | None = None
    finish_reason: str | None = None

    @property
    def tokens(self) -> list[Token]:
        """Its tokens with log-probabilities; empty where the server gave none."""
        return (self.logprobs and self.logprobs.content) or []


class PromptDetails(BaseModel):
    """What is told about the prompt's tokens."""

    cached_tokens: int | None = None


class ServerUsage(BaseModel):
    """Token counts."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None


class PromptToken(BaseModel):
    """A token of the prompt."""

    decoded_token: str | None = None
    logprob: float


class Body(BaseModel):
    """A chat completion, or a chunk of one; fields that we do not use are ignored."""

    choices: list[Choice]
    usage: ServerUsage | None = None
    prompt_logprobs: list[dict[str, PromptToken] | None] | None = None

    @property
    def counted(self) -> Tokens:
        """The token counts; zero where the server gave none."""
        usage = self.usage or ServerUsage()
        cached = usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens
        return Tokens(usage.prompt_tokens or 0, cached or 0, usage.completion_tokens or 0)

    @property
    def read(self) -> Reading:
        """The prompt's tokens, where the server told them."""
        first = [next(iter(entry.values()), None) if entry else None for entry in self.prompt_logprobs or ()]
        tokens = [Read((token and token.decoded_token) or "", token.logprob if token else 0.0) for token in first]
        return Reading(tokens, self.counted)


def parse(raw: bytes | object, form: type[Form]) -> Form:
    """Read a response body (bytes), or a streamed chunk that is JSON already, as `form`. Raises Unreadable."""
    try:
        return form.model_validate_json(raw) if isinstance(raw, bytes) else form.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        start = raw[:4000].decode(errors="replace").strip() if isinstance(raw, bytes) else ""
        what = "HTML instead of JSON" if start.startswith("<") else f"{where} {first['msg']}".strip()
    raise Unreadable(f"{what}; it begins {start}" if start else what)


def join(chunks: Sequence[Body]) -> Body:
    """The whole completion that a stream's chunks add up to. Raises Unreadable where it is empty or has no end."""
    pieces: defaultdict[int, list[Choice]] = defaultdict(list)
    usage = None
    if not chunks:
        raise Unreadable("no events in the stream")
    for chunk in chunks:
        usage = chunk.usage or usage
        for piece in chunk.choices:
            pieces[piece.index].append(piece)
    return Body(choices=[_joined(index, parts) for index, parts in pieces.items()], usage=usage)


def _joined(index: int, pieces: Sequence[Choice]) -> Choice:
    ends = [piece.finish_reason for piece in pieces if piece.finish_reason]
    if not ends:
        raise Unreadable("the stream ended before the reply did")
    return Choice(
        index=index,
        message=Content(
            content="".join(piece.message.content or "" for piece in pieces),
            refusal="".join(piece.message.refusal or "" for piece in pieces) or None,
        ),
        logprobs=Logprobs(content=[token for piece in pieces for token in piece.tokens]),
        finish_reason=ends[-1],
    )


def reply(body: Body, call: Call, wanted: int) -> Reply:
    """What a chat completion means for a call: samples and scores, or an error that names what is wrong with it.

    wanted: the number of the call's samples that it must hold.
    """
    choices = sorted(body.choices, key=lambda choice: choice.index)
    if error := _flaw(choices, wanted):
        return Reply(tokens=body.counted, error=error)
    samples = tuple(Sample(c.message.content or "", _logprobs(c.tokens), c.finish_reason or "unknown") for c in choices)
    scores = choice_scores(call.choices, choices[0].tokens) if scored(call) else ()
    return Reply(samples, scores, body.counted)


def merged(replies: Sequence[Reply]) -> Reply:
    """One reply of the replies with a call's samples: the first one's scores, all tokens, the first error."""
    counts = [reply.tokens for reply in replies]
    tokens = Tokens(sum(c.prompt for c in counts), sum(c.cached for c in counts), sum(c.completion for c in counts))
    if error := next((reply.error for reply in replies if reply.error), None):
        return Reply(tokens=tokens, error=error)
    return Reply(tuple(sample for reply in replies for sample in reply.samples), replies[0].scores, tokens)


def _flaw(choices: Sequence[Choice], wanted: int) -> str | None:
    if not choices:
        return "the reply holds no choices"
    if len(choices) != wanted:
        return f"asked for {wanted} samples, the server gave {len(choices)}"
    for choice in choices:
        if choice.finish_reason == "content_filter":
            return "the server's content filter withheld the reply"
        if choice.message.refusal:
            return f"the model refused: {choice.message.refusal}"
        if choice.message.content is None:
            return f"the reply holds no text (finish reason: {choice.finish_reason})"
    return None


def _logprobs(tokens: Sequence[Token]) -> tuple[float, ...] | None:
    values = tuple(token.logprob for token in tokens)
    return values if values and all(map(math.isfinite, values)) else None


def choice_scores(choices: Sequence[str], tokens: Sequence[Token]) -> tuple[float | None, ...]:
    """The log-probability of each choice as the first token, spellings such as `A` and ` A` added up.

    None for a choice that is not among the alternatives the server reported.
    """
    found: dict[str, list[float]] = {choice: [] for choice in choices}
    for alternative in _alternatives(tokens[:1]):
        spelled = alternative.token.strip()
        if spelled in found and math.isfinite(alternative.logprob):
            found[spelled].append(alternative.logprob)
    return tuple(_log_sum(found[choice]) if found[choice] else None for choice in choices)


def _log_sum(logprobs: Sequence[float]) -> float:
    highest = max(logprobs)
    return min(0.0, highest + math.log(sum(math.exp(value - highest) for value in logprobs)))


def _alternatives(first: Sequence[Token]) -> list[Alternative]:
    """The alternatives at the first token; the sampled one too, where it is not among the likeliest."""
    listed = [alternative for token in first for alternative in token.top_logprobs or ()]
    return listed + [token for token in first if token.token not in {other.token for other in listed}]
