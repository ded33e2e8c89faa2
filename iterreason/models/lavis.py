"""`lavis:NAME/TYPE` or `lavis:FILE.yaml`: LAVIS in a process of its own, since its pins exclude ours."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

from iterreason.calls import Call, Capabilities, Reply, Sample, Tokens, digest
from iterreason.errors import IterReasonError, MissingExtra, ModelFailed, UnknownModel
from iterreason.images import decode
from iterreason.models import CAPTION_QUESTION, BackendRole, OnText
from iterreason.models.address import KEY_VARIABLES
from iterreason.models.batching import CLOSED, Batcher, one_line
from iterreason.models.framed import Framed, WorkerFailed

log = logging.getLogger("iterreason")

PYTHON_VARIABLE = "ITERREASON_LAVIS_PYTHON"
ENVIRONMENT = Path(".venv-lavis/bin/python")  # of the folder that one works in, or of the checkout
CHECKOUT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("lavis_worker.py")
RELEASES = "1.0."
TO_MEND = f"make lavis (in a checkout), or set {PYTHON_VARIABLE} to a Python that has salesforce-lavis==1.0.2"
FORMS = "lavis:NAME/TYPE as in LAVIS's model zoo (lavis:blip_vqa/vqav2), or lavis:FILE.yaml for local files"
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
FAILURES = 2  # with no answer in between, and the worker is not started again


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that the worker may take to start, to load (a download included), and to answer a batch."""

    start: float = 180.0
    load: float = 3600.0
    answer: float = 600.0


def find_python() -> Path | None:
    """The Python that has LAVIS: as the environment says, else of `make lavis`; None where there is none."""
    if named := os.environ.get(PYTHON_VARIABLE):
        return Path(named).expanduser().absolute()  # not resolved: the link is what makes it an environment's
    places = (Path.cwd() / ENVIRONMENT, CHECKOUT / ENVIRONMENT)
    return next((place for place in places if place.is_file()), None)


def to_mend() -> str | None:
    """How to get a LAVIS where there is none; None where a Python is found (whether it works shows when it opens)."""
    python = find_python()
    return None if python and python.is_file() else TO_MEND


def load(rest: str, role: BackendRole) -> LavisAnswerer:
    """Open what stands after `lavis:`; takes seconds, and minutes where LAVIS downloads.

    Raises UnknownModel for a name or role that LAVIS has not, MissingExtra where no usable LAVIS is found, ModelFailed
    where the model cannot be loaded.
    """
    if role == "reasoner":
        raise UnknownModel(f"lavis:{rest} looks at images and cannot be the reasoner; name it as the answerer")
    request = _request(rest)
    python = find_python()
    if python is None or not python.is_file():
        where = f"{PYTHON_VARIABLE} names {python}, which is no file" if python else "no .venv-lavis here"
        raise MissingExtra(f"lavis: needs a Python of its own with LAVIS ({where}); run: {TO_MEND}")
    return LavisAnswerer([str(python), "-E", str(WORKER)], request, f"lavis/{_shown(rest)}")


class LavisAnswerer:
    """Answers looks with a LAVIS model in a worker process.

    command: starts the worker; the numbers of its pipes are added. request: what to load. name: what results call it,
        followed by a hash of the weights. patience: how long the worker may take.

    The conventions of replies are those of BLIP in this process (hf_answerer): log-probabilities are the model's own,
    the end token's included; choices are scored as whole answers by the sum of theirs, and what is picked carries each
    token's, for their mean. A worker that ends, in a batch, is started again once and gets the batch again; one that
    hangs is started again for the next batch. Two failures with no answer in between are the end.
    """

    def __init__(
        self, command: Sequence[str], request: Mapping[str, Any], name: str, patience: Patience | None = None
    ) -> None:
        self._command, self._request, self._shown = list(command), dict(request), name
        self._patience = patience or Patience()
        self._failures, self._reason, self._closed = 0, "", Event()
        self._held: set[str] = set()
        self._worker: Framed | None = None
        try:
            self._told = self._start()
        except WorkerFailed as error:
            raise ModelFailed(f"{name}: the LAVIS worker does not start: {error}") from None
        self._asks = bool(self._told.get("asks"))
        self._name = f"{name}@{self._told.get('weights')}"
        limit = int(self._told.get("batch", 1))
        self._batcher = Batcher(self._run, limit, lambda call: (bool(call.choices), call.sampling.max_tokens))

    def capabilities(self) -> Capabilities:
        """Looks only; everything can be scored."""
        return Capabilities(self._name, chats=False, looks=True, logprobs=True, scores=True)

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one look, in a batch with those that wait; the text does not stream."""
        return await self._batcher.submit(call)

    async def close(self) -> None:
        """End the worker, also in the middle of a batch."""
        self._closed.set()
        if worker := self._worker:
            worker.kill()
        await self._batcher.close()
        self._drop()

    # All below runs on the batcher's thread, but for the first start.

    def _start(self) -> dict[str, Any]:
        """Start a worker and have it load the model; returns what it says of the model."""
        hidden = {*KEY_VARIABLES, "PYTHONHOME", "PYTHONPATH"}
        environment = {key: value for key, value in os.environ.items() if key not in hidden} | {
            "TRANSFORMERS_OFFLINE": "1",  # the worker itself fetches what is lacking, and says so where it cannot
            "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",  # a checkpoint runs no code
        }
        try:
            self._worker = Framed(self._command, environment)
            if self._closed.is_set():
                raise WorkerFailed(CLOSED)
            told = self._worker.ask({"do": "hello"}, seconds=self._patience.start)
            self._refuse(told)
            if not str(told.get("lavis")).startswith(RELEASES):
                found = f"{self._command[0]} has LAVIS {told.get('lavis')}"
                raise MissingExtra(f"{found}; iterreason works with {RELEASES}x. Run: {TO_MEND}")
            loaded = self._worker.ask(dict(self._request, do="load"), seconds=self._patience.load)
            self._refuse(loaded)
            return loaded
        except OSError as error:
            self._drop()
            raise WorkerFailed(f"{self._command[0]}: {error.strerror or error}") from None
        except BaseException:
            self._drop()
            raise

    def _refuse(self, told: Mapping[str, Any]) -> None:
        """Raise what the worker says is wrong with LAVIS or the model."""
        if "error" not in told:
            return
        if told.get("kind") == "missing":
            raise MissingExtra(f"{told['error']}; run: {TO_MEND}")
        if told.get("kind") == "unknown":
            raise UnknownModel(str(told["error"]))
        raise ModelFailed(f"{self._shown} cannot be loaded: {told['error']}")

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        self._held = set()
        if worker:
            worker.close()

    def _run(self, calls: Sequence[Call]) -> list[Reply]:
        began = perf_counter()
        faults = [self._fault(call) for call in calls]
        pixels: dict[str, tuple[int, int, bytes]] = {}
        for place, call in enumerate(calls):
            if not faults[place]:
                faults[place] = _prepare(call, pixels)
        good = [call for call, fault in zip(calls, faults, strict=True) if not fault]
        answers = iter(self._answered(good, pixels) if good else ())
        replies = [Reply(error=fault) if fault else next(answers) for fault in faults]
        seconds = (perf_counter() - began) / len(calls)
        return [reply if reply.error else _timed(reply, seconds) for reply in replies]

    def _fault(self, call: Call) -> str:
        """Why this call cannot be answered; empty where it can."""
        if call.look is None:
            return f"{self._name} only looks at images; it answers no messages"
        if call.look.question is not None and not self._asks:
            return f"{self._name} gives captions only; name a model that answers questions"
        return ""

    def _answered(self, calls: Sequence[Call], pixels: Mapping[str, tuple[int, int, bytes]]) -> list[Reply]:
        """The worker's replies, from a second one where the first ends."""
        while self._failures < FAILURES and not self._closed.is_set():
            try:
                told = self._ask(calls, pixels)
            except WorkerFailed as error:
                self._drop()
                if self._closed.is_set():
                    break
                self._failures, self._reason = self._failures + 1, f"the LAVIS worker failed: {error}"
                log.warning("%s: %s", self._name, self._reason)
                if error.hung:
                    return [Reply(error=self._reason)] * len(calls)
            else:
                self._failures = 0
                return told
        reason = (
            CLOSED if self._closed.is_set() else f"{self._reason}; it is not started again after {FAILURES} failures"
        )
        return [Reply(error=reason)] * len(calls)

    def _ask(self, calls: Sequence[Call], pixels: Mapping[str, tuple[int, int, bytes]]) -> list[Reply]:
        if self._worker is None:
            try:
                told = self._start()
            except IterReasonError as error:
                raise WorkerFailed(str(error)) from error
            if told != self._told:
                raise WorkerFailed("its files have changed since it was opened")
        assert self._worker, "it was just started"
        new = [key for key in pixels if key not in self._held]
        header = {
            "do": "answer",
            "max_tokens": calls[0].sampling.max_tokens,
            "views": [[key, *pixels[key][:2]] for key in new],
            "calls": [_wired(call) for call in calls],
        }
        told = self._worker.ask(header, [pixels[key][2] for key in new], seconds=self._patience.answer)
        if "error" in told:
            self._held = set()  # what it still has after that is unknown
            return [Reply(error=str(told["error"]))] * len(calls)
        try:
            self._held = set(told["held"])
            return [_read(call, reply) for call, reply in zip(calls, told["replies"], strict=True)]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WorkerFailed(f"it sent what is no reply: {one_line(error)}") from None


def _request(rest: str) -> dict[str, Any]:
    """What the worker is to load."""
    offline = any(os.environ.get(v, "").upper() in ("1", "ON", "YES", "TRUE") for v in OFFLINE_VARIABLES)
    common = {"offline": offline, "caption": CAPTION_QUESTION}
    if rest.endswith((".yaml", ".yml")):
        file = Path(rest).expanduser().resolve()
        if not file.is_file():
            raise ModelFailed(f"lavis:{rest} is no file; the forms are: {FORMS}")
        return {"name": "", "kind": "", "file": str(file), **common}
    if not re.fullmatch(r"\w+/[\w.-]+", rest):
        raise UnknownModel(f"'lavis:{rest}' names no model; the forms are: {FORMS}")
    name, kind = rest.split("/")
    return {"name": name, "kind": kind, "file": "", **common}


def _shown(rest: str) -> str:
    """A model's name in results: of a file that of its folder and its own."""
    return "/".join(Path(rest).expanduser().resolve().with_suffix("").parts[-2:]) if rest.endswith("ml") else rest


def _key(call: Call) -> str:
    return digest(call.look and call.look.view.identity)[:16]


def _prepare(call: Call, pixels: dict[str, tuple[int, int, bytes]]) -> str:
    """Put the view's pixels into `pixels`; returns what is wrong with it, or nothing."""
    assert call.look is not None, "faults are sorted out before"
    try:
        if (key := _key(call)) not in pixels:
            picture = decode(call.look.view)
            pixels[key] = (*picture.size, picture.tobytes())
    except Exception as error:  # an image that cannot be decoded is this call's fault alone
        return one_line(error)
    return ""


def _wired(call: Call) -> dict[str, Any]:
    return {
        "view": _key(call),
        "question": call.look and call.look.question,
        "choices": call.choices,
        "temperature": call.sampling.temperature,
        "seeds": [call.seed_of(number) for number in range(call.sampling.n)],
    }


def _read(call: Call, told: Mapping[str, Any]) -> Reply:
    """A reply as the worker sends it."""
    if "error" in told:
        return Reply(error=str(told["error"]))
    if call.choices:
        own = [tuple(map(float, row)) for row in told["choices"]]
        samples = tuple(Sample(call.choices[place], own[place]) for place in told["picked"])
        scores = tuple(sum(row) for _, row in zip(call.choices, own, strict=True))
    else:
        samples, scores = tuple(_sample(sample) for sample in told["samples"]), ()
    if len(samples) != call.sampling.n:
        raise ValueError(f"{len(samples)} samples for {call.sampling.n}")
    written = sum(len(sample.logprobs or ()) for sample in samples)
    return Reply(samples, scores, Tokens(int(told["prompt_tokens"]), completion=written))


def _sample(told: Mapping[str, Any]) -> Sample:
    return Sample(str(told["text"]), tuple(map(float, told["logprobs"])), str(told["finish"]))


def _timed(reply: Reply, seconds: float) -> Reply:
    return Reply(reply.samples, reply.scores, reply.tokens, seconds)
