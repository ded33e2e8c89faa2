"""A program in the place of the LAVIS worker, which does what a test wants of it.

    fake_worker.py FOLDER READ WRITE

FOLDER/plan.json holds a list: what the first start of the program does, the second, and so on; the last goes on for
ever. Each is an object: `hello` and `load` (replies instead of the usual), `answer` (how batches are answered).
FOLDER/starts gets a line for each start (its process id), FOLDER/asked one for each request, FOLDER/environment the
variables' names.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

HEAD = struct.Struct(">4sIQ")
TOLD = {"hello": {"lavis": "1.0.2"}, "load": {"asks": True, "batch": 32, "weights": "0123456789ab"}}


def main(folder: Path, read: int, write: int) -> None:
    with (folder / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    plans = json.loads((folder / "plan.json").read_text())
    number = len((folder / "starts").read_text().splitlines())
    plan = plans[min(number, len(plans)) - 1]
    (folder / "environment").write_text("\n".join(os.environ))
    print("a library prints as it starts " * 40_000, flush=True)  # more than a pipe holds
    incoming, outgoing = os.fdopen(read, "rb"), os.fdopen(write, "wb")
    held: set[str] = set()
    while len(head := incoming.read(HEAD.size)) == HEAD.size:
        _, length, size = HEAD.unpack(head)
        request, body = json.loads(incoming.read(length)), incoming.read(size)
        with (folder / "asked").open("a") as asked:
            asked.write(json.dumps({**request, "bytes": size}) + "\n")
        print("a library prints as it works", flush=True)
        if request["do"] == "answer":
            answer(plan.get("answer", "echo"), request, body, held, outgoing)
        else:
            send(outgoing, plan.get(request["do"], TOLD[request["do"]]))


def answer(how: str, request: dict[str, Any], body: bytes, held: set[str], outgoing: BinaryIO) -> None:
    if how == "crash":
        print("\nSegmentation fault, says a library", flush=True)
        os._exit(3)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(600)
    if how == "noise":
        outgoing.write(b"Downloading: 100%|##########| 1.2G/1.2G\n")
        outgoing.flush()
        return
    if how == "endless":
        outgoing.write(HEAD.pack(b"ITR1", 2**32 - 1, 0))
        outgoing.flush()
        return
    if how in ("list", "text"):
        send(outgoing, [] if how == "list" else "no JSON")
        return
    if how == "error":
        send(outgoing, {"error": "RuntimeError: CUDA out of memory", "kind": "failed"})
        return
    if how != "forgets":
        held |= {key for key, _, _ in request["views"]}
    first = body[:3].hex() if body else "nothing new"
    replies = [reply(call, first) for call in request["calls"]]
    send(outgoing, {"replies": replies[how == "short" :], "held": sorted(held)})


def reply(call: dict[str, Any], first: str) -> dict[str, Any]:
    if call["question"] == "too long":
        return {"error": "context: 'too long'… has 99 tokens; it takes 35"}
    if call["choices"]:
        return {"choices": [[-0.5, -1.0], [-2.0]], "picked": [1 for _ in call["seeds"]], "prompt_tokens": 4}
    text = f"{call['question']} {first} {call['seeds']}"
    return {"samples": [{"text": text, "logprobs": [-0.5, -0.25], "finish": "stop"}] * len(call["seeds"]),
            "prompt_tokens": 7}  # fmt: skip


def send(outgoing: BinaryIO, told: object) -> None:
    text = told.encode() if isinstance(told, str) else json.dumps(told).encode()
    outgoing.write(HEAD.pack(b"ITR1", len(text), 0) + text)
    outgoing.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
