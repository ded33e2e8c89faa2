"""Episodes for the page: what a line of `traces.jsonl` tells of rounds, evidence and calls, without replaying it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iterreason.bench.report.records import Key
from iterreason.bench.row import TRACES, Row
from iterreason.errors import BadTrace


def read_episodes(folder: Path, wanted: Mapping[Key, Row | None]) -> dict[Key, dict[str, Any]]:
    """The wanted episodes of a run's folder, as the page shows them, by problem and seed.

    wanted: with the row that an episode must have led to, so that an attempt that was made again is passed over.
    A run without traces has none. Raises BadTrace.
    """
    path = folder / TRACES
    if not path.is_file():
        return {}
    found: dict[Key, dict[str, Any]] = {}
    for number, text in _lines(path):
        try:
            line = json.loads(text)
            key = str(line["problem"]["id"]), int(line["seed"] or 0)
            row = wanted.get(key)
            if key in wanted and (row is None or line["result"]["usage"] == asdict(row.usage)):
                found[key] = episode_view(line)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            why = f"{type(error).__name__}: {error}"
            raise BadTrace(f"{path}, line {number} is not a whole episode ({why})") from None
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file, one by one: the traces of a large run are many times its rows."""
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if text.endswith(b"\n") and text.strip():  # else torn by a kill; nothing was promised
                    yield number, text
    except OSError as error:
        raise BadTrace(f"cannot read the traces {path}: {error.strerror}") from None


def episode_view(line: dict[str, Any]) -> dict[str, Any]:
    """A whole episode's line, as the page shows it."""
    result = line["result"]
    evidence = [entry for entry in result["memory"] if "question" in entry]
    withdrawn = {entry["number"]: entry["by"] for entry in result["memory"] if "by" in entry}
    return {
        "context": line["problem"]["context"],
        "rounds": [_round(r) for r in result["rounds"]],
        "evidence": [_evidence(e, withdrawn.get(e["number"])) for e in evidence],
        "calls": list(_calls(line)),
        "contradictions": result["contradictions"],
        "next": result["next_question"],
    }


def row_view(row: Row) -> dict[str, Any]:
    """What a row alone tells of its episode, for a run whose trace was not kept."""
    empty = {"rationale": "", "cites": (), "missing": "", "asks": (), "belief": (), "outside": None}
    return {
        "context": "",
        "rounds": [
            {"number": number, "answer": r.answer, "confidence": _short(r.confidence), "stops": r.stops, **empty}
            for number, r in enumerate(row.rounds, 1)
        ],
        "evidence": (),
        "calls": (),
        "contradictions": (),
        "next": None,
        "untraced": True,
    }


def _round(value: dict[str, Any]) -> dict[str, Any]:
    verdict = value["verdict"]
    return {
        "number": value["number"],
        "answer": verdict["answer"],
        "confidence": _short(verdict["confidence"]),
        "rationale": verdict["rationale"],
        "cites": verdict["cites"],
        "missing": verdict["missing"],
        "asks": [question["text"] for question in verdict["questions"]],
        "belief": [[c["answer"], _short(c["probability"])] for c in verdict["belief"]],
        "outside": _short(verdict["outside"]),
        "stops": value["stops"],
    }


def _evidence(value: dict[str, Any], withdrawn_by: str | None) -> dict[str, Any]:
    region = value["region"]
    view = {
        "number": value["number"],
        "round": value["round"],
        "kind": value["kind"],
        "question": value["question"],
        "answer": value["answer"],
        "probability": _short(value["probability"]),
        "model": value["model"],
        "image": value["image"],
        "region": region and [_short(region[edge]) for edge in ("x0", "y0", "x1", "y1")],
    }
    return view | ({"withdrawn": withdrawn_by} if withdrawn_by else {})


def _calls(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each call with the round and turn that it was made in, and its tokens."""
    policy = tomllib.loads(line["policy"]["text"])
    rounds = _Rounds(policy.get("layout", "append") == "separate" or bool(policy.get("plan", {}).get("steps")))
    for number, turn in enumerate((turn for turn in line["turns"] if turn["calls"]), 1):
        at = rounds.of(turn["calls"][0]["purpose"])
        for call, reply in zip(turn["calls"], turn["replies"], strict=True):
            tokens = reply["tokens"]
            view = {
                "round": at,
                "turn": number,
                "purpose": call["purpose"],
                "slot": call["slot"],
                "tokens": [tokens["prompt"], tokens["cached"], tokens["completion"]],
                "seconds": round(reply["seconds"], 3),
            }
            yield view | ({"error": reply["error"]} if reply["error"] else {})


class _Rounds:
    """In which round a call was made, told from the order of calls: a trace need not be replayed for it.

    separate: whether the policy asks (or plans) and concludes in generations of their own, by turns.
    """

    def __init__(self, separate: bool) -> None:
        self._separate, self._generations, self._now = separate, 0, 0

    def of(self, purpose: str) -> int:
        """The round of the next call, which is made for this."""
        if purpose == "generation":
            self._now = self._generations // (2 if self._separate else 1) + 1
            self._generations += 1
        elif purpose == "look" and not self._separate and self._generations:
            self._now = self._generations + 1  # the last round's verdict asked for it
        return self._now


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
