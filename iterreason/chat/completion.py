"""What can follow what is typed: commands, and for each the names, numbers or files that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from iterreason.chat.inputs import COMMANDS
from iterreason.chat.shell import Shell
from iterreason.display import clean
from iterreason.models import BACKENDS
from iterreason.policy import shipped
from iterreason.tools.regions import NAMED

_FILES = ("image", "save", "load", "policy")


class Completions(Completer):
    """Completes commands and what they take; questions are left alone."""

    def __init__(self, shell: Shell) -> None:
        self._shell, self._paths = shell, PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The completions at the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, rest = text[1:].partition(" ")
        if not space:
            for command, how in COMMANDS.items():
                if command.startswith(name):
                    yield Completion(command, -len(name), display=f"/{command} {how.usage}", display_meta=how.does)
            return
        for word, meta in self._words(name):
            if word.startswith(rest):
                yield Completion(word, -len(rest), display_meta=meta)
        if name in _FILES:
            yield from self._paths.get_completions(Document(rest, len(rest)), complete_event)

    def _words(self, name: str) -> Iterator[tuple[str, str]]:
        session = self._shell.session
        if name == "policy":
            yield from ((policy, "") for policy in shipped())
        elif name == "look":
            yield from ((region, "") for region in NAMED)
        elif name == "veto":
            yield from ((str(e.number), f"{clean(e.question)} {clean(e.answer)}"[:60]) for e in session.memory.standing)
        elif name == "image":
            yield from ((image.name, f"image {n}") for n, image in enumerate(session.images, 1))
            yield "all", "every image"
        elif name == "model":
            for role in ("reasoner", "answerer"):
                yield role, ""
                yield from ((f"{role} {scheme}", what) for scheme, what in BACKENDS.items())
        elif name in ("export", "askme"):
            yield from ((word, "") for word in (("html", "json") if name == "export" else ("on", "off")))
        elif name == "help":
            yield from ((command, how.does) for command, how in COMMANDS.items())
