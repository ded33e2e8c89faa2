"""The folder of one run, DIR/TASK/POLICY/: held by one runner, every row on disk before the next, resumed exactly.

An episode's trace is written before its row, each flushed to the disk. So a kill at any moment leaves at most one trace
without a row, the last, from which the row is made again; and a torn last line, which is cut off.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from iterreason.bench.disk import sync_folder, write_whole
from iterreason.bench.manifest import continued, differences, read_manifest, write_manifest
from iterreason.bench.row import MANIFEST, RESULTS, TRACES, Row, read_rows
from iterreason.bench.solving import Done, Job, Setting, row_of
from iterreason.errors import BadRun, IterReasonError, Misuse
from iterreason.recording import EpisodesFile, LineFile
from iterreason.trace import encode, parse_episode

if sys.platform != "win32":
    import fcntl

RETRIED = "retried.jsonl"
_AT_A_TIME = 2**16  # bytes read from the end
Key = tuple[str, int]


def folder_of(out: Path, setting: Setting) -> Path:
    """Where a run lies: DIR/TASK/POLICY, see `Setting.names`."""
    task, policy = setting.names
    return out / task / policy


class RunFolder:
    """A run's folder, open for writing; `rows` are all that it holds, `notes` what is to be said of them.

    manifest: of the run that begins now. Where the folder holds another run (other task, data, policy, models), that is
    kept beside, and this one starts anew, or goes on where it was kept itself.
    Raises Misuse where another runner holds the folder or it cannot be written, BadRun where it holds what is no run,
    Failure where the disk is full.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.notes = folder, list[str]()
        self._lock: int | None = None
        self._traces: EpisodesFile | None = None
        try:
            self._open(manifest)
        except BaseException:
            self.close()
            raise

    def _open(self, manifest: dict[str, Any]) -> None:
        self._make()
        old = read_manifest(self.folder)
        if old is None and (self.folder / RESULTS).exists():
            raise Misuse(f"{self.folder} holds a {RESULTS} but no {MANIFEST}; name another folder with --out")
        if old is None or (changed := differences(old, manifest)):
            if old is not None:
                self._set_aside(changed)
            old = self._take_up(manifest)
        self._new = manifest
        self.manifest = manifest if old is None else old
        if old is None:
            write_manifest(self.folder, manifest)
        self._traces = EpisodesFile(self.folder / TRACES)
        self._results = LineFile(self.folder / RESULTS, "results")
        self._results.mend()
        sync_folder(self.folder)
        self.rows = _own_rows(self.folder / RESULTS, self.manifest)

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for made in (self.folder.parent, self.folder.parent.parent):
                sync_folder(made)
            self._lock = _hold(self.folder)
        except OSError as error:
            raise Misuse(f"cannot use the folder {self.folder}: {error.strerror}; name another with --out") from None

    def _set_aside(self, changed: Sequence[str]) -> None:
        """Move the run that is here out of the way, whole."""
        place = next(place for n in range(1, 1_000_000) if not (place := self._aside(str(n))).exists())
        self.folder.rename(place)
        self._unlock()
        self._make()
        what = f"{', '.join(changed)} changed since the run in {self.folder}, which is kept as {place}"
        self.notes.append(f"{what}; starting anew")

    def _take_up(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """Bring back the run that begins now, where it was set aside earlier; gives its manifest."""
        for place in sorted(self.folder.parent.glob(self._aside("*").name)):
            old = read_manifest(place)
            if old is None or differences(old, manifest):
                continue
            self._unlock()
            for draft in self.folder.glob("*.new"):  # a kill left it
                draft.unlink()
            self.folder.rmdir()
            place.rename(self.folder)
            self._make()
            self.notes.append(f"going on with the run that was kept as {place}")
            return old
        return None

    def _aside(self, number: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{number}")  # hidden, so that no report counts it

    def go_on(self) -> None:
        """Note that there is work for a session that is not the run's first. Raises Misuse, Failure."""
        if self.manifest is not self._new:
            self.manifest = continued(self.manifest, self._new)
            write_manifest(self.folder, self.manifest)

    def retry_errors(self, jobs: Mapping[Key, Job]) -> None:
        """Take the rows of these jobs that ended with an error out, to be solved again; they go to `retried.jsonl`."""
        failed = {key: row for key, row in self.rows.items() if row.outcome == "error" and key in jobs}
        if not failed:
            return
        path = self.folder / RETRIED
        lines = LineFile(path, "results")
        try:
            lines.mend()
            there = set(path.read_bytes().split(b"\n"))
            for row in failed.values():
                if encode(row.to_json()).encode() not in there:  # a kill came between this and what follows
                    lines.write(row.to_json())
        finally:
            lines.close()
        self.rows = {key: row for key, row in self.rows.items() if key not in failed}
        self._results.close()
        write_whole(self.folder / RESULTS, "".join(encode(row.to_json()) + "\n" for row in self.rows.values()))
        self._results = LineFile(self.folder / RESULTS, "results")
        self.notes.append(f"{self.folder}: {len(failed)} failed problems are tried again")

    def recover(self, jobs: Mapping[Key, Job], setting: Setting) -> None:
        """Make the row of an episode that was recorded whole just before a kill, but whose row was not."""
        line = _last_line(self.folder / TRACES)
        if line is None:
            return
        try:
            trace = parse_episode(json.loads(line), self.folder / TRACES)
            job = jobs.get(key := (trace.problem.id, trace.seed or 0))
            if job is None or key in self.rows or not trace.finished:
                return
            row = row_of(job, setting, trace.replay())
        except (ValueError, IterReasonError):
            return  # another version's, or spoiled: the problem has no row and is solved again
        if row.outcome != "error":  # one whose retry was asked for is tried again
            self.record(Done(row))

    def record(self, done: Done) -> bool:
        """Put a problem's trace and row on disk; False where it has a row already. Raises Failure."""
        if done.row.key in self.rows:
            return False
        assert self._traces is not None, "open"
        if done.trace is not None:
            self._traces.append(done.trace)
        self._results.write(done.row.to_json())
        self.rows[done.row.key] = done.row
        return True

    def close(self) -> None:
        """Let go of the folder; safe to call twice."""
        for file in (self._traces, getattr(self, "_results", None)):
            if file is not None:
                file.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _own_rows(path: Path, manifest: dict[str, Any]) -> dict[Key, Row]:
    """The rows, each of this run and none twice. Raises BadRun."""
    rows: dict[Key, Row] = {}
    if not path.exists():
        return rows
    task, models = manifest["task"], manifest["models"]
    names = tuple(name for name in (models["reasoner"], *models["answerers"], *models.get("tools", ())) if name)
    own = (task["name"], task["version"], task["split"], manifest["policy"]["hash"], names, manifest["all_rounds"])
    for number, row in enumerate(read_rows(path), 1):
        if (row.task, row.version, row.split, row.policy_hash, row.models, row.all_rounds) != own:
            raise BadRun(f"{path}, row {number} ('{row.id}') is another run's; move the file away")
        if row.key in rows:
            raise BadRun(f"{path}, row {number}: the problem '{row.id}', seed {row.seed}, has a row already")
        rows[row.key] = row
    return rows


def _hold(folder: Path) -> int | None:
    """A lock on the folder, gone with the process that has it."""
    if sys.platform == "win32":
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Misuse(f"{folder} is being written by another run; wait for it to end or name another --out") from None
    except OSError:  # a file system without locks
        pass
    return handle


def _last_line(path: Path) -> bytes | None:
    """The last whole line of a file, read from its end."""
    with path.open("rb") as file:
        position, tail = file.seek(0, os.SEEK_END), b""
        while position and tail.count(b"\n") < 2:
            step = min(_AT_A_TIME, position)
            position = file.seek(position - step)
            tail = file.read(step) + tail
    lines = [line for line in tail.split(b"\n") if line.strip()]
    return lines[-1] if lines else None
