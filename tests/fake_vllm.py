#!/usr/bin/env python3
"""A program that takes the place of `vllm` on the path: it serves /health, dies, hangs or will not end, as told.

FAKE_VLLM names a folder: `plan.json` there lists what each start in turn does (the last: all further); each start
leaves `start-N.json` with its arguments, its key and its process ids. What it does is one of:
    serve, die (before it answers), die-soon (after that), hang (answers once), stubborn (SIGTERM does not end it)
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

folder = Path(os.environ["FAKE_VLLM"])
plan = json.loads((folder / "plan.json").read_text())
number = 0
while True:
    try:
        file = (folder / f"start-{number}.json").open("x")
        break
    except FileExistsError:
        number += 1
does = plan[min(number, len(plan) - 1)]
child = subprocess.Popen(["sleep", "600"]) if does == "stubborn" else None
key = os.environ.get("VLLM_API_KEY")
told = {"arguments": sys.argv[1:], "key": key, "pids": [os.getpid(), *([child.pid] if child else [])],
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}  # fmt: skip
file.write(json.dumps(told))
file.close()
print(f"start {number}: {does}", flush=True)
if does == "die":
    sys.exit(f"RuntimeError: out of memory, and the key is {key}")
if does == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Health(BaseHTTPRequestHandler):
    """200 to the first look at /health; what follows is up to the plan."""

    looks = 0

    def do_GET(self):
        Health.looks += 1
        good = self.path == "/health" and not (does == "hang" and Health.looks > 1)
        self.send_response(200 if good else 503)
        self.end_headers()
        if does == "die-soon":
            threading.Timer(0.1, os._exit, [7]).start()

    def log_message(self, *_):
        pass


time.sleep(0.2)  # a model takes its time
port = next(int(a.removeprefix("--port=")) for a in sys.argv if a.startswith("--port="))
ThreadingHTTPServer(("127.0.0.1", port), Health).serve_forever()
