"""What a session does with what is typed: the same behind a terminal, a pipe and a screen reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfile

from iterreason.calls import Asked, Event, Looked, Note, Told, VerdictReached, Vetoed
from iterreason.chat import inputs, screen
from iterreason.chat.export import exported
from iterreason.chat.screen import Style
from iterreason.chat.session import Exchange, Session
from iterreason.chat.store import SessionFile, read_session, state_line
from iterreason.chat.work import Job, Running, Work
from iterreason.display import Line, clean
from iterreason.errors import Failure, IterReasonError, Misuse
from iterreason.images import load_image
from iterreason.policy import find_policy, shipped
from iterreason.records import Question, Region, Result, Verdict
from iterreason.trace import Trace

Showing = Callable[[Iterable[Line]], None]
Picturing = Callable[[Session, tuple[Region, ...]], None]


@dataclass(slots=True)
class Shell:
    """A session in use.

    show: prints lines. picture: shows the images in view with regions outlined, where that can be done.
    failed: whether a question ended in an error, or a line could not be used: 1 or 2.
    """

    session: Session
    file: SessionFile
    work: Work
    style: Style
    show: Showing
    picture: Picturing
    pending: Trace | None = None
    running: Running | None = None
    leaving: bool = False
    failed: int = 0
    _waiting: list[inputs.Input] = field(default_factory=list)
    _before: Verdict | None = None
    _looked: list[Region] = field(default_factory=list)

    # -------------------------------------------------------------- what is typed

    def enter(self, text: str) -> None:
        """Do what a line says; what cannot be done is said, and the session goes on."""
        try:
            if not text.strip() and self.session.open_question and not self.running:
                self.file.step(self.session, "skipped")
                self.session = replace(self.session, open_question=None)
            if (typed := inputs.parse(text)) is not None:
                self._act(typed)
        except IterReasonError as error:
            self.fault(error)
        except OSError as error:
            self.fault(Failure(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")))

    def _act(self, typed: inputs.Input) -> None:
        if isinstance(typed, inputs.Leave):
            self.leaving = True
        elif isinstance(typed, inputs.Show):
            self._show(typed.what)
        elif isinstance(typed, inputs.Help):
            self.show(screen.help_lines(typed.name))
        elif self.running is not None:
            self._meanwhile(typed, self.running)
        else:
            self._now(typed)

    def _show(self, what: inputs.Shown) -> None:
        session, style = self.session, self.style
        lines = {
            "why": lambda: screen.why_lines(session.last, style),
            "memory": lambda: screen.memory_lines(session.memory, style, len(session.view)),
            "belief": lambda: screen.all_belief_lines(session.last, style),
            "cost": lambda: screen.cost_lines(session),
        }
        self.show(lines[what]())

    def _meanwhile(self, typed: inputs.Input, running: Running) -> None:
        """While a question runs: what steers it goes to it, anything else waits for its end."""
        note: Note | None = None
        if isinstance(typed, inputs.StopAt) and typed.threshold is None:
            self.interrupt()
            return
        if isinstance(typed, inputs.Tell):
            note = Told(typed.fact)
        elif isinstance(typed, inputs.AskAnswerer):
            note = Asked(Question(typed.text))
        elif isinstance(typed, inputs.LookAt) and typed.region is not None:
            note = Looked(typed.region)
        elif isinstance(typed, inputs.Veto):
            note = Vetoed(typed.number)
        if note is None:
            self._waiting.append(typed)
            self._say("after this question")
        else:
            running.notes.append(note)
            self._say("noted; the next round knows it")

    def _now(self, typed: inputs.Input) -> None:
        session = self.session
        if isinstance(typed, inputs.Reason):
            self._reason(typed.text)
        elif isinstance(typed, inputs.AskAnswerer):
            self._start(Job(session.problem(typed.text), session, (Question(typed.text),)))
        elif isinstance(typed, inputs.LookAt):
            self.picture(session, (typed.region,) if typed.region else ())
            said = f"look at {'the whole image' if typed.region is None else 'a region'}"
            self._start(Job(session.problem(said), session, (Question("", region=typed.region),)))
        elif isinstance(typed, inputs.Tell):
            self._step(session.told(typed.fact), "told", fact=typed.fact)
            self._say(f"noted as [{self.session.memory.next_number - 1}]; /again answers the last question with it")
        elif isinstance(typed, inputs.Veto):
            self._step(session.vetoed(typed.number), "vetoed", number=typed.number)
            self._say(f"[{typed.number}] is withdrawn")
            if self.session.last:
                self._again()
        elif isinstance(typed, inputs.Again):
            self._again()
        elif isinstance(typed, inputs.Undo):
            self._step(session.undone(), "undone")
            self._say(f"taken back; {len(self.session.memory)} pieces of evidence are known")
        elif isinstance(typed, inputs.UseImage):
            self._image(typed.name)
        elif isinstance(typed, inputs.Save):
            self._save(Path(typed.path).expanduser())
        elif isinstance(typed, inputs.Load):
            self._load(Path(typed.path).expanduser())
        elif isinstance(typed, inputs.Export):
            self._export(typed)
        else:
            self._set(typed)

    # -------------------------------------------------------------- questions

    def _reason(self, text: str) -> None:
        if asked := self.session.open_question:
            fact = f"{asked} {text}"
            self._step(replace(self.session.told(fact), open_question=None), "told", fact=fact)
            self._again()
            return
        self._start(Job(self.session.problem(text), self.session))

    def _again(self) -> None:
        if self.session.last is None:
            raise Misuse("there is no question about these images yet; ask one")
        self._start(Job(self.session.problem(self.session.last.question), self.session))

    def go_on(self) -> None:
        """Take up the question that a killed session left unanswered."""
        if (pending := self.pending) is not None:
            self.pending = None
            self._say(f"going on with: {clean(pending.problem.question)}")
            self._start(Job(pending.problem, self.session, pending.asked, pending))

    def _start(self, job: Job) -> None:
        self._before, self._looked = None, []
        self._say("looking …" if job.asked else "thinking …")
        self.running = self.work.start(job, self.file, self.happened, self.ended)

    def happened(self, events: tuple[Event, ...]) -> None:
        """Show what has happened in the question that runs."""
        images, lines = len(self.session.view), list[Line]()
        for event in events:
            lines += screen.happened(event, self.style, self._before, images)
            if isinstance(event, VerdictReached):
                self._before = event.verdict
        self.show(lines)

    def ended(self, end: Result | BaseException) -> None:
        """Take in how a question ended, then do what was typed meanwhile."""
        running, self.running = self.running, None
        assert running is not None, "what ends was started"
        if isinstance(end, Result):
            job = running.job
            exchange = Exchange(job.problem.question, end, self.session.view, bool(job.asked))
            self.session = self.session.answered(exchange)
            self.failed = max(self.failed, 1 if end.error else 0)
            self._outlined(end)
            self.show(screen.ended(exchange, self.style))
        else:
            told = end if isinstance(end, IterReasonError) else Failure(f"{type(end).__name__}: {end}")
            self.fault(told)
        if self.session.open_question and not self._waiting:
            self.show([Line("title", f"what do you say? {clean(self.session.open_question)}  (Enter skips)")])
        self._then(running)

    def _outlined(self, result: Result) -> None:
        known = len(self.session.before.memory) if self.session.before else 0
        regions = tuple(dict.fromkeys(e.region for e in result.memory.evidence[known:] if e.region))
        if regions and self.running is None:
            self.picture(self.session, regions)

    def _then(self, running: Running) -> None:
        late = [_typed(note) for note in running.notes]
        waiting, self._waiting = [*late, *self._waiting], []
        for place, typed in enumerate(waiting):
            if self.running is not None:
                self._waiting = waiting[place:]
                return
            try:
                self._act(typed)
            except IterReasonError as error:
                self.fault(error)

    def interrupt(self) -> bool:
        """Stop the question that runs; false where none does."""
        if self.running is None:
            return False
        self._waiting.clear()
        self.work.stop(self.running)
        self._say("stopping …")
        return True

    # -------------------------------------------------------------- settings, images, files

    def _set(self, typed: inputs.Input) -> None:
        session = self.session
        if isinstance(typed, inputs.UsePolicy) and not typed.name:
            self.show(Line("look", f"  {name:<14} {find_policy(name).policy.description}") for name in shipped())
            return
        if isinstance(typed, inputs.UseModel) and not typed.role:
            models = session.models
            answerers = ", ".join(models.answerers) or "as configured"
            self.show([Line("look", f"reasoner: {models.reasoner or 'as configured'}; answerer: {answerers}")])
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
        self._step(changed, "changed", **state_line(changed))
        self._say(f"policy {name}" if not isinstance(typed, inputs.AskMe | inputs.UseModel) else "set")
        self.work.prepare(self.session, self.fault)

    def _image(self, name: str) -> None:
        session = self.session
        regions = tuple(dict.fromkeys(e.region for e in session.memory.standing if e.region))
        if not name:
            self.picture(session, regions)
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
            self._step(changed, "changed", **state_line(changed))
        self.picture(self.session, ())

    def _step(self, changed: Session, kind: str, **values: object) -> None:
        self.file.step(self.session, kind, **values)
        self.session = changed

    def _save(self, path: Path) -> None:
        if path.exists():
            raise Misuse(f"{path} exists; a session is never written over another file. Name a new one")
        if not self.file.path.exists():
            raise Misuse("there is nothing to save yet; ask something first")
        copyfile(self.file.path, path)
        self._say(f"saved to {path}; go on from it with: iterreason chat --resume {path}")

    def _load(self, path: Path) -> None:
        session, pending = read_session(path, self.session.images)
        file = SessionFile()
        file.path.parent.mkdir(parents=True, exist_ok=True)
        copyfile(path, file.path)  # what is loaded stays as it is
        self.file.close()
        self.file, self.session, self.pending = file, session, pending
        self._say(f"{len(session.exchanges)} questions, {len(session.memory)} pieces of evidence")
        self.picture(session, ())
        self.go_on()

    def _export(self, typed: inputs.Export) -> None:
        path = Path(typed.path or f"{self.file.path.stem}.{typed.form}").expanduser()
        text = exported(self.session, typed.form)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise Misuse(f"{path} exists; name another file") from None
        self._say(f"written to {path}")

    # -------------------------------------------------------------- saying

    def _say(self, text: str) -> None:
        self.show([Line("quiet", text)])

    def fault(self, error: IterReasonError) -> None:
        """Say what went wrong, in its place."""
        self.failed = max(self.failed, error.exit_code)
        self.show([Line("trouble", f"! {clean(str(error))}")])

    def close(self) -> None:
        """End the session: stop what runs, keep what was said."""
        self.interrupt()
        self.work.close()
        self.file.close()


def _typed(note: Note) -> inputs.Input:
    """What a person said too late for the question that ran: done after it."""
    if isinstance(note, Told):
        return inputs.Tell(note.fact)
    if isinstance(note, Asked):
        return inputs.AskAnswerer(note.question.text)
    if isinstance(note, Looked):
        return inputs.LookAt(note.region)
    assert isinstance(note, Vetoed), "a stop is no note of the person's list"
    return inputs.Veto(note.number)
