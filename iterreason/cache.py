"""A reply cache on disk: the same call to the same model is answered once. Off unless asked for."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from iterreason.calls import Call, Capabilities, Reply
from iterreason.errors import Misuse
from iterreason.models import Model, OnText


@cache
def _replies() -> TypeAdapter[Reply]:
    return TypeAdapter(Reply)


class ReplyCache:
    """Replies in an SQLite file, keyed by model and call; safe for several processes.

    A call's key holds its sample index and how many samples it wants, so that five votes stay five samples. Errors are
    never kept.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS replies (model TEXT, key TEXT, reply BLOB, PRIMARY KEY (model, key))"
                " WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise Misuse(f"cannot use {path} as a reply cache: {error}") from None

    def get(self, model: str, key: str) -> Reply | None:
        """The reply kept for this call to this model."""
        row = self._db.execute("SELECT reply FROM replies WHERE model = ? AND key = ?", (model, key)).fetchone()
        return None if row is None else _replies().validate_json(row[0])

    def put(self, model: str, key: str, reply: Reply) -> None:
        """Keep a reply; the first one kept stays."""
        kept = (model, key, _replies().dump_json(reply))
        self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", kept)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class Cached:
    """A model behind a reply cache."""

    def __init__(self, model: Model, replies: ReplyCache) -> None:
        self._model = model
        self._replies = replies

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """The kept reply, or the model's, which is then kept."""
        name = self._model.capabilities().model
        kept = self._replies.get(name, call.key)
        if kept is not None:
            return kept
        reply = await self._model.complete(call, on_text)
        if reply.error is None:
            self._replies.put(name, call.key, reply)
        return reply

    def capabilities(self) -> Capabilities:
        """Those of the model."""
        return self._model.capabilities()

    async def close(self) -> None:
        """Close the model; the cache is shared and stays open."""
        await self._model.close()
