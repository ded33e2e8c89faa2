"""Commands that change how a session goes on: settings, images, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from iterreason.chat import inputs
from iterreason.chat.export import exported
from iterreason.chat.store import SessionFile, read_session, state_line
from iterreason.display import Line
from iterreason.errors import Misuse
from iterreason.images import load_image
from iterreason.policy import find_policy, shipped

if TYPE_CHECKING:
    from iterreason.chat.shell import Shell


def set_up(shell: Shell, typed: inputs.Input) -> None:
    """Change how questions are reasoned about, or show how."""
    session = shell.session
    if isinstance(typed, inputs.UsePolicy) and not typed.name:
        shell.show(Line("look", f"  {name:<14} {find_policy(name).policy.description}") for name in shipped())
        return
    if isinstance(typed, inputs.UseModel) and not typed.role:
        models = session.models
        answerers = ", ".join(models.answerers) or "as configured"
        shell.show([Line("look", f"reasoner: {models.reasoner or 'as configured'}; answerer: {answerers}")])
        return
    if isinstance(typed, inputs.UsePolicy):
        changed = session.step(policy=replace(session.policy, name=typed.name, stop=None, rounds=None))
    elif isinstance(typed, inputs.StopAt):
        if typed.threshold is None:
            raise Misuse("nothing runs that could be stopped; /stop 0.8 sets how sure is enough")
        changed = session.step(policy=replace(session.policy, stop=typed.threshold))
    elif isinstance(typed, inputs.RoundsAtMost):
        changed = session.step(policy=replace(session.policy, rounds=typed.number))
    elif isinstance(typed, inputs.AskMe):
        changed = session.step(ask_me=typed.on, open_question=None)
    else:
        assert isinstance(typed, inputs.UseModel), f"a setting, not {typed}"
        models = session.models
        new = replace(models, reasoner=typed.uris[0]) if typed.role == "reasoner" else None
        changed = session.step(models=new or replace(models, answerers=typed.uris))
    name = changed.policy.find().name  # a policy that cannot be is refused before it is taken
    shell.step(changed, "changed", **state_line(changed))
    shell.say(f"policy {name}" if not isinstance(typed, inputs.AskMe | inputs.UseModel) else "set")
    shell.work.prepare(shell.session, shell.fault)


def use_image(shell: Shell, name: str) -> None:
    """Show the images in view, or switch to others."""
    session = shell.session
    regions = tuple(dict.fromkeys(e.region for e in session.memory.standing if e.region))
    if not name:
        shell.picture(session, regions)
        return
    names = [image.name for image in session.images]
    if name == "all":
        changed = session.viewing(tuple(range(len(session.images))))
    elif name.isdigit() and not Path(name).exists():
        if not 1 <= int(name) <= len(session.images):
            raise Misuse(f"there is no image {name}; there are {len(session.images)}: {', '.join(names)}")
        changed = session.viewing((int(name) - 1,))
    elif name in names and not Path(name).exists():
        changed = session.viewing((names.index(name),))
    else:
        path = Path(name).expanduser()
        changed = session.with_image(load_image(path), str(path.resolve()))
    if changed is not session:
        shell.step(changed, "changed", **state_line(changed))
    shell.picture(shell.session, ())


def save(shell: Shell, path: Path) -> None:
    """Copy the session to a new file."""
    if path.exists():
        raise Misuse(f"{path} exists; a session is never written over another file. Name a new one")
    if not shell.file.path.exists():
        raise Misuse("there is nothing to save yet; ask something first")
    copyfile(shell.file.path, path)
    shell.say(f"saved to {path}; go on from it with: iterreason chat --resume {path}")


def load(shell: Shell, path: Path) -> None:
    """Go on from the session in a file, in a file of its own."""
    session, pending = read_session(path, shell.session.images)
    file = SessionFile()
    file.path.parent.mkdir(parents=True, exist_ok=True)
    copyfile(path, file.path)  # what is loaded stays as it is
    shell.file.close()
    shell.file, shell.session, shell.pending = file, session, pending
    shell.say(f"{len(session.exchanges)} questions, {len(session.memory)} pieces of evidence")
    shell.picture(session, ())
    shell.go_on()


def export(shell: Shell, typed: inputs.Export) -> None:
    """Write the session as a page or as JSON."""
    path = Path(typed.path or f"{shell.file.path.stem}.{typed.form}").expanduser()
    text = exported(shell.session, typed.form)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Misuse(f"{path} exists; name another file") from None
    shell.say(f"written to {path}")
