"""What went wrong with a server, in one line that holds no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError

from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

from iterreason.errors import IterReasonError
from iterreason.models.address import KEY_VARIABLES, NO_KEY
from iterreason.models.wire import Unreadable

REASON_CHARS = 300
TOO_LONG = re.compile(
    r"context[ _](length|size|window)|maximum model length|max_model_len|exceed_context_size|prompt is too long", re.I
)


def explain(error: Exception, key: str) -> str:
    """The reason behind an error: one line of at most 300 characters without the key.

    It starts with `context: ` where the prompt does not fit the model.
    """
    return tidy(_what(error), key)


def tidy(text: str, key: str) -> str:
    """One line of at most 300 characters, the key blotted out (before the cut, which could leave half of it)."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    if key != NO_KEY:
        line = line.replace(key, "[key]")
    return line if len(line) <= REASON_CHARS else line[: REASON_CHARS - 1] + "…"


def advice(error: Exception, model: str) -> str:
    """The next step after a failure to connect."""
    if isinstance(error, APIStatusError):
        if error.status_code in (401, 403):
            return f"set {' or '.join(KEY_VARIABLES)} to a key that it takes"
        return "does the URL end in /v1?" if error.status_code == 404 else "see the server's log"
    if isinstance(error, APIConnectionError | TimeoutError):
        return f"is it running? (vllm serve {model})"
    return "is it an OpenAI-compatible server, and does the URL end in /v1?"


def said(error: APIError) -> str:
    """What the server said, in its own words."""
    body = error.body
    if isinstance(body, dict):
        message = body.get("message") or body.get("detail") or body
        return str(message)
    if isinstance(body, str) and body:
        return "an HTML page" if body.startswith("<") else body
    return error.message


def _what(error: Exception) -> str:
    if isinstance(error, APITimeoutError | TimeoutError):
        return "time-out: no reply in time"
    if isinstance(error, APIConnectionError):
        return _connection(error)
    if isinstance(error, APIStatusError):
        return _status(error)
    if isinstance(error, Unreadable | JSONDecodeError):
        return f"unreadable reply: {error}"
    if isinstance(error, APIError):
        return f"the server broke off: {said(error)}"
    return str(error) if isinstance(error, IterReasonError) else f"{type(error).__name__}: {error}"


def _status(error: APIStatusError) -> str:
    words = said(error)
    code = str(error.code or "")
    if error.status_code in (400, 413, 422) and (TOO_LONG.search(words) or TOO_LONG.search(code)):
        return f"context: {words}"
    return f"HTTP {error.status_code}: {words}"


def _connection(error: APIConnectionError) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "connection refused"
    reasons = [str(cause) for cause in causes[1:] if str(cause)]
    return f"connection failed: {reasons[0] if reasons else error.message}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__
