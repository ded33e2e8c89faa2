"""What a session does with what is typed: the same behind a terminal, a pipe and a screen reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from iterreason.calls import Asked, Event, Looked, Note, Told, VerdictReached, Vetoed
from iterreason.chat import inputs, screen, settings
from iterreason.chat.screen import Style
from iterreason.chat.session import Exchange, Session
from iterreason.chat.store import SessionFile
from iterreason.chat.work import Job, Running, Work
from iterreason.display import Line, clean
from iterreason.errors import Failure, IterReasonError, Misuse
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
            self.say("after this question")
        else:
            running.notes.append(note)
            self.say("noted; the next round knows it")

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
            self.step(session.told(typed.fact), "told", fact=typed.fact)
            self.say(f"noted as [{self.session.memory.next_number - 1}]; /again answers the last question with it")
        elif isinstance(typed, inputs.Veto):
            self.step(session.vetoed(typed.number), "vetoed", number=typed.number)
            self.say(f"[{typed.number}] is withdrawn")
            if self.session.last:
                self._again()
        elif isinstance(typed, inputs.Again):
            self._again()
        elif isinstance(typed, inputs.Undo):
            self.step(session.undone(), "undone")
            self.say(f"taken back; {len(self.session.memory)} pieces of evidence are known")
        elif isinstance(typed, inputs.UseImage):
            settings.use_image(self, typed.name)
        elif isinstance(typed, inputs.Save):
            settings.save(self, Path(typed.path).expanduser())
        elif isinstance(typed, inputs.Load):
            settings.load(self, Path(typed.path).expanduser())
        elif isinstance(typed, inputs.Export):
            settings.export(self, typed)
        else:
            settings.set_up(self, typed)

    # -------------------------------------------------------------- questions

    def _reason(self, text: str) -> None:
        if asked := self.session.open_question:
            fact = f"{asked} {text}"
            self.step(replace(self.session.told(fact), open_question=None), "told", fact=fact)
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
            self.say(f"going on with: {clean(pending.problem.question)}")
            self._start(Job(pending.problem, self.session, pending.asked, pending))

    def _start(self, job: Job) -> None:
        self._before, self._looked = None, []
        self.say("looking …" if job.asked else "thinking …")
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
        self.say("stopping …")
        return True

    def step(self, changed: Session, kind: str, **values: object) -> None:
        """Take a step, on disk first."""
        self.file.step(self.session, kind, **values)
        self.session = changed

    # -------------------------------------------------------------- saying

    def say(self, text: str) -> None:
        """Say a line of the session's own."""
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
