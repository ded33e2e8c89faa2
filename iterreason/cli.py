"""The command line: `iterreason ask | chat | replay | eval | report | export | calibrate | what-if | serve …`.

Exit codes: 0 done (an abstention is an answer too), 1 something failed, 2 misuse, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from iterreason import probe_command
from iterreason._version import __version__
from iterreason.bench import commands as bench
from iterreason.bench import recorded_commands
from iterreason.chat import command as chat
from iterreason.errors import EpisodeFailed, IterReasonError, Misuse, NotRecorded
from iterreason.options import add_attribution, add_models, add_problem, problem_of, reasoner_of
from iterreason.serving import commands as serving
from iterreason.tuning import commands as tuning

if TYPE_CHECKING:
    from rich.console import Console

    from iterreason.calls import Capabilities, Event
    from iterreason.display import Line
    from iterreason.models import BackendRole
    from iterreason.records import Problem


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character gets '?' instead of nothing at all
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    if python := getattr(options, "lavis_python", None):
        # Through the environment, so that it reaches the workers of a cluster that this command starts.
        os.environ["ITERREASON_LAVIS_PYTHON"] = os.path.abspath(os.path.expanduser(python))
    try:
        return command(options)
    except IterReasonError as error:
        from iterreason.display import printable

        print(f"iterreason: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("iterreason: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter's flush does not raise
        return 1
    except OSError as error:  # the disk, or a file that may not be read
        print(f"iterreason: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 1


# ------------------------------------------------------------------ what can be typed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iterreason", description="Ask about an image; a loop asks on until it is sure."
    )
    parser.add_argument("--version", action="version", version=f"iterreason {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    ask = commands.add_parser("ask", help="answer a question about an image")
    ask.set_defaults(command=_ask)
    add_problem(ask)
    add_models(ask)
    ask.add_argument("--trace", type=Path, metavar="FILE", help="record the episode; an unfinished one is resumed")
    ask.add_argument("--trace-images", action="store_true", help="keep the images beside the trace, named by sha256")
    add_attribution(ask)

    chat.add_command(commands)

    replay = commands.add_parser("replay", help="a recorded episode again, without any model")
    replay.set_defaults(command=_replay)
    replay.add_argument("trace", type=Path, metavar="TRACE")
    replay.add_argument("--policy", metavar="P", help="what-if: the same record under another policy (name or .toml)")
    replay.add_argument("--json", action="store_true", help="print one JSON object for each episode")

    probe_command.add_command(commands)
    bench.add_commands(commands)
    recorded_commands.add_commands(commands)
    tuning.add_commands(commands)
    serving.add_commands(commands)

    policies = commands.add_parser("policies", help="the policies that are shipped, or the text of one")
    policies.set_defaults(command=_policies)
    policies.add_argument("name", nargs="?", metavar="NAME", help="a policy's name, or `new`")
    policies.add_argument(
        "new", nargs="?", metavar="NEW", help="after `new`: write NEW.toml here, a file to start from"
    )

    models = commands.add_parser("models", help="the kinds of model that are usable here, or what one model can do")
    models.set_defaults(command=_models)
    models.add_argument("uri", nargs="?", metavar="URI", help="open this model, and find out by test requests")
    models.add_argument("--role", choices=("reasoner", "answerer"), default="reasoner", help="that it is opened for")

    demo = commands.add_parser("demo", help="three drawn scenes, three questions, rounds shown as they happen")
    demo.set_defaults(command=_demo)
    add_models(demo)
    return parser


# ------------------------------------------------------------------ what they do


def _ask(options: argparse.Namespace) -> int:
    problem = problem_of(options)
    if options.trace_images and not options.trace:
        raise Misuse("--trace-images keeps the images beside a trace; name one with --trace FILE")
    if options.trace_images:
        from iterreason.recording import store_images

        store_images(options.trace, problem)
    return _solve(options, [problem])


def _demo(options: argparse.Namespace) -> int:
    from iterreason.demo import problems

    return _solve(options, problems())


def _solve(options: argparse.Namespace, problems: Sequence[Problem]) -> int:
    from iterreason.display import ending_lines, title_line
    from iterreason.engine import collect_rarely

    collect_rarely()

    console = _console(quiet=options.json)
    failed = 0
    with reasoner_of(options, attribution=getattr(options, "attribution", False)) as reasoner:
        with console.status("opening the models …"):
            reasoner.open()
        for problem in problems:
            _print(console, [title_line(problem)])
            trace = getattr(options, "trace", None)
            try:
                result = reasoner.solve(problem, trace=trace, on_events=_shower(console, problem, options))
            except EpisodeFailed as error:
                result, failed = error.result, failed + 1
                print(f"iterreason: {error}", file=sys.stderr)
            if options.json:
                print(json.dumps(result.to_json(), ensure_ascii=False), flush=True)
            _print(console, [*ending_lines(result)])
    return 1 if failed else 0


def _replay(options: argparse.Namespace) -> int:
    from iterreason.display import result_lines
    from iterreason.policy import find_policy
    from iterreason.trace import read_traces

    named = find_policy(options.policy) if options.policy else None
    console = _console(quiet=options.json)
    failed = False
    for trace in read_traces(options.trace):
        try:
            result = trace.replay(named)
        except NotRecorded as error:  # a session holds others behind one that was never ended
            print(f"iterreason: {error}", file=sys.stderr)
            failed = True
            continue
        failed = failed or result.error is not None
        if options.json:
            print(json.dumps(result.to_json(), ensure_ascii=False))
        _print(console, [*result_lines(result)])
    return 1 if failed else 0


def _policies(options: argparse.Namespace) -> int:
    from iterreason.new_policy import new_policy
    from iterreason.policy import find_policy, shipped

    if options.name == "new":
        path = new_policy(options.new or "", Path())
        print(f"{path} is written. Change it, then: iterreason ask IMAGE QUESTION --policy {path}")
        return 0
    if options.new:
        raise Misuse(f"one policy at a time: '{options.name}' or '{options.new}'; `policies new NAME` writes a file")
    if options.name:
        print(find_policy(options.name).text, end="")
        return 0
    for name in shipped():
        print(f"{name:<14} {find_policy(name).policy.description}")
    return 0


def _models(options: argparse.Namespace) -> int:
    from iterreason import tools
    from iterreason.models import BACKENDS, missing

    if options.uri:
        return _model(options.uri, options.role)
    listed = [(scheme, what, missing(scheme)) for scheme, what in BACKENDS.items()]
    listed += [(f"tool {name}", what, tools.missing(name)) for name, what in tools.TOOLS.items()]
    for name, what, line in listed:
        print(f"{name:<11} {'usable' if line is None else 'missing'}  {what}")
        if line:
            print(f"{'':<11} {'':<7}  to mend: {line}")
    return 0


def _model(uri: str, role: BackendRole) -> int:
    import asyncio

    from iterreason.models import open_model
    from iterreason.models.abilities import ability_lines

    async def capabilities() -> Capabilities:
        model = await open_model(uri, role)
        await model.close()
        return model.capabilities()

    for line in ability_lines(asyncio.run(capabilities())):
        print(line)
    return 0


# ------------------------------------------------------------------ showing


def _console(quiet: bool) -> Console:
    from rich.console import Console

    return Console(quiet=quiet, highlight=False, soft_wrap=True)


def _print(console: Console, lines: Sequence[Line]) -> None:
    from iterreason.display import rich_lines

    console.print(rich_lines(lines))


def _shower(console: Console, problem: Problem, options: argparse.Namespace) -> Callable[[tuple[Event, ...]], None]:
    from iterreason.display import event_lines

    images, several = len(problem.images), len(options.answerer or ()) > 1

    def show(events: tuple[Event, ...]) -> None:
        if lines := [line for event in events for line in event_lines(event, images, several=several)]:
            _print(console, lines)

    return show
