"""A reply cache on disk: the same call to the same model is answered once. Off unless asked for."""

from __future__ import annotations

import logging
import sqlite3
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from iterreason.calls import Call, Capabilities, Reply
from iterreason.errors import Misuse
from iterreason.models import Model, OnText

log = logging.getLogger("iterreason")


@cache
def _replies() -> TypeAdapter[tuple[Reply]]:
    # in a tuple, since a dataclass takes no config from outside; a log-probability of -inf must not become null
    return TypeAdapter(tuple[Reply], config=ConfigDict(ser_json_inf_nan="constants"))


class ReplyCache:
    """Replies in an SQLite file, keyed by model and call; safe for several processes.

    A call's key holds its sample index and how many samples it wants, so that five votes stay five samples. Errors are
    never kept. What the file cannot give or take costs a call and a line in the log, never an episode.

    patience: seconds to wait for another writer.
    """

    def __init__(self, path: Path, *, patience: float = 5.0) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, timeout=patience, isolation_level=None)
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
        try:
            row = self._db.execute("SELECT reply FROM replies WHERE model = ? AND key = ?", (model, key)).fetchone()
            return None if row is None else _replies().validate_json(row[0])[0]
        except sqlite3.Error as error:
            log.warning("the reply cache %s could not be read: %s", self._path, error)
        except ValidationError:
            log.warning("the reply cache %s holds no reply where one should be; it is asked for again", self._path)
            self._write("DELETE FROM replies WHERE model = ? AND key = ?", model, key)
        return None

    def put(self, model: str, key: str, reply: Reply) -> None:
        """Keep a reply; the first one kept stays."""
        try:
            kept = _replies().dump_json((reply,))
        except ValueError as error:  # half a surrogate pair, which is no UTF-8
            log.warning("a reply was not kept in %s: %s", self._path, error)
        else:
            self._write("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", model, key, kept)

    def _write(self, statement: str, *values: str | bytes) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            log.warning("the reply cache %s could not be written: %s", self._path, error)

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
