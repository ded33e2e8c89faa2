"""Everything that iterreason raises.

IterReasonError
├── Misuse                  the caller can mend it: exit code 2
│   ├── BadProblem          question, choices or context out of bounds
│   ├── BadImage            an image that cannot be read, or is refused
│   ├── UnknownPolicy       no policy has this name
│   ├── BadPolicy           a policy file that does not say what it must
│   ├── UnknownModel        a model URI that names no backend
│   ├── MissingExtra        a backend whose packages are not installed
│   ├── BadConfig           the user's config file or environment
│   ├── BadTrace            a trace file that cannot be read
│   ├── UnknownTask         no benchmark task has this name
│   ├── BadTask             a task file that does not say what it must
│   ├── BadData             a benchmark's data that is malformed
│   │   └── MissingData     a benchmark's data that is not there
│   └── BadRun              a run directory that cannot be read, or is another run's
└── Failure                 something outside went wrong: exit code 1
    ├── ModelFailed         a model could not be loaded or reached
    │   └── ServerFailed    a server that we run does not start, or keeps dying
    ├── EpisodeFailed       an episode ended with an error; holds its `result`
    └── NotRecorded         a replay needs a call that the trace does not hold
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iterreason.records import Result


class IterReasonError(Exception):
    """The root of all errors raised on purpose."""

    exit_code = 1


class Misuse(IterReasonError):
    """What was asked for cannot be done; the caller can mend it."""

    exit_code = 2


class BadProblem(Misuse):
    """The question, its choices or its context are out of bounds."""


class BadImage(Misuse):
    """The image cannot be read, or is refused."""


class UnknownPolicy(Misuse):
    """No policy has this name."""


class BadPolicy(Misuse):
    """The policy file does not say what it must."""


class UnknownModel(Misuse):
    """The model URI names no backend."""


class MissingExtra(Misuse):
    """The backend needs packages that are not installed."""


class BadConfig(Misuse):
    """The config file or an environment variable cannot be used."""


class BadTrace(Misuse):
    """The trace file cannot be read."""


class UnknownTask(Misuse):
    """No benchmark task has this name."""


class BadTask(Misuse):
    """The task file does not say what it must."""


class BadData(Misuse):
    """The data of a benchmark is missing or malformed."""


class MissingData(BadData):
    """The data of a benchmark is not there; the message says how to get it."""


class BadRun(Misuse):
    """The run directory cannot be read, or is another run's."""


class Failure(IterReasonError):
    """Something outside this package went wrong."""


class ModelFailed(Failure):
    """A model could not be loaded or reached."""


class ServerFailed(ModelFailed):
    """A server that we run does not start, or keeps dying."""


class EpisodeFailed(Failure):
    """An episode ended with an error; `result` holds what was learned before it."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.error)
        self.result = result


class NotRecorded(Failure):
    """A replay needs a call that the trace does not hold."""


def unknown(kind: str, value: str, known: Iterable[str]) -> str:
    """Say that `value` is no known `kind`: the nearest known one, then all of them."""
    names = sorted(known)
    near = get_close_matches(value, names, n=1)
    guess = f"; did you mean '{near[0]}'?" if near else "."
    return f"unknown {kind} '{value}'{guess} Known: {', '.join(names) or 'none'}."
