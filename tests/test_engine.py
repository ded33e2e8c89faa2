"""The engine, the library's front door and the reply cache, over written models."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from written import ABLE, problem, said, scored, verdict

from iterreason import reason as one_line_reason
from iterreason.api import Reasoner, areason, make_problem, replay
from iterreason.cache import Cached, ReplyCache
from iterreason.calls import DEADLINE, EMPTY_PROMPT, Call, Capabilities, Reply, Sample, Sampling, VerdictReached
from iterreason.engine import Engine
from iterreason.errors import BadImage, BadPolicy, BadProblem, EpisodeFailed, Misuse, NotRecorded, UnknownModel
from iterreason.models.scripted import Scripted
from iterreason.plan import resolve
from iterreason.policy import find_policy
from iterreason.records import Image, Problem, Result
from iterreason.trace import read_trace, read_traces


class Written:
    """A model that counts what is asked of it, and how much at once."""

    def __init__(self, *, pause: float = 0.0, fails: str = "", answer: str = "yes") -> None:
        self.pause, self.fails, self.answer = pause, fails, answer
        self.calls: list[Call] = []
        self.now = self.most = self.closed = 0

    async def complete(self, call: Call, on_text=None) -> Reply:
        self.calls.append(call)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.pause)
        finally:
            self.now -= 1
        if self.fails and self.fails in call.prompt.messages[-1].text:
            raise ConnectionError("gone")
        if call.purpose == "readout":
            return scored(0.95, 0.02)
        return said(self.answer) if call.look else said(verdict(self.answer, "is it red?"))

    def capabilities(self) -> Capabilities:
        return ABLE

    async def close(self) -> None:
        self.closed += 1


def picture(tmp_path: Path, name: str = "a.png", colour: str = "red") -> Path:
    from PIL import Image as Pixels

    path = tmp_path / name
    Pixels.new("RGB", (32, 32), colour).save(path)
    return path


def distinct(count: int) -> list[Problem]:
    return [problem(f"Is thing {n} red?") for n in range(count)]


# ------------------------------------------------------------------ the engine


def test_independent_calls_of_a_turn_run_at_once():
    """The looks of a turn travel together: their time is that of one."""
    model = Written()
    with Reasoner(model, model) as reasoner:
        reasoner.solve(problem())
    assert model.most == 2


def test_episodes_in_flight_are_bounded():
    """Never more episodes at once than `concurrency`, and as many as that."""
    model = Written(pause=0.002)
    with Reasoner(model, model, policy="direct", concurrency=4) as reasoner:
        results = reasoner.batch(distinct(20))
    assert model.most == 4
    assert all(r.answer == "yes" for r in results)


def test_one_failure_is_its_episodes_alone():
    """In a batch a model's error or an impossible problem is that problem's outcome, in its place, and counted."""
    model = Written(fails="thing 2")
    problems = [*distinct(4), problem(images=2)]
    seen: dict[int, Result] = {}
    with Reasoner(model, model, policy="direct") as reasoner:
        results = reasoner.batch(problems, on_result=seen.__setitem__)
    assert [r.error for r in results] == [
        None,
        None,
        "the answerer failed: ConnectionError: gone",
        None,
        "policy 'direct' asks one image the question itself; the problem has 2",
    ]
    assert seen == dict(enumerate(results))
    assert [r.problem for r in results] == problems


def test_problems_of_one_image_run_near_each_other():
    """A batch is ordered by image, so that prefix and pixel caches hold; results keep the caller's order."""
    model = Written()
    images = [Image(f"{n}" * 64, 8, 8) for n in range(3)]
    problems = [Problem((images[n % 3],), f"question {n}") for n in range(9)]
    with Reasoner(model, model, policy="direct", concurrency=1) as reasoner:
        results = reasoner.batch(problems)
    assert [c.look.view.image.sha256[0] for c in model.calls if c.look] == list("000111222")
    assert [r.problem.question for r in results] == [p.question for p in problems]


def test_a_call_past_the_time_budget_is_cut_off():
    """The engine cancels what outlasts the episode's seconds; the reply says `deadline` and nothing keeps running."""
    model = Written(pause=5)
    named = find_policy("direct")
    plan = resolve(named, None, [ABLE])

    async def work() -> None:
        from iterreason.calls import Turn
        from iterreason.loop import episode

        turn = next(episode(problem(), plan))
        began = time.perf_counter()
        returned = await Engine({"answerer:0": model}).make(Turn(turn.calls, (), 0.05))
        assert returned.replies[0].error == DEADLINE
        assert time.perf_counter() - began < 2
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(work())
    assert model.now == 0


def test_a_reply_of_the_wrong_form_is_an_error():
    """A model that scores fewer choices than asked, or gives no sample, fails; nothing is scored from half a reply."""

    class Short(Written):
        async def complete(self, call: Call, on_text=None) -> Reply:
            if call.purpose == "readout":
                return scored(0.9)
            return await super().complete(call)

    class Silent(Written):
        async def complete(self, call: Call, on_text=None) -> Reply:
            return Reply()

    with Reasoner(Short(), Written()) as reasoner, pytest.raises(EpisodeFailed, match="1 scores for 2 choices"):
        reasoner.solve(problem())
    with Reasoner(Written(), Silent()) as reasoner, pytest.raises(EpisodeFailed, match="0 samples of 1"):
        reasoner.solve(problem())


def test_no_line_about_a_role_that_the_policy_does_not_have(caplog):
    """`direct` needs no reasoner: nobody is told that none was named."""
    with Reasoner(None, Written(), policy="direct") as reasoner:
        assert reasoner.solve(problem()).answer == "yes"
    assert not caplog.records


# ------------------------------------------------------------------ the front door


def test_reason_answers_a_question_about_a_file(tmp_path):
    """The library call takes a path and a question and gives a result that prints as a transcript."""
    model = Written()
    with Reasoner(model, model) as reasoner:
        result = reasoner.reason(picture(tmp_path), "Is it red?", ["yes", "no"])
    assert (result.answer, result.stop_reason) == ("yes", "confident: 0.98 ≥ 0.90, stable: same answer for 2 rounds")
    assert "answer: yes  confidence 0.98 (choice-logprob)" in str(result)


def test_the_one_line_call_keeps_models_open(tmp_path):
    """`reason()` with other models in between works as if each had its own; a model of the caller's stays open."""
    first, second = Written(), Written(answer="no")
    path = picture(tmp_path)
    for model, wanted in ((first, "yes"), (first, "yes"), (second, "no")):
        result = one_line_reason(path, "Is it red?", ["yes", "no"], reasoner=model, answerer=model)
        assert result.best_guess == wanted
    assert (first.closed, second.closed) == (0, 0)


def test_reason_works_inside_a_running_event_loop(tmp_path):
    """A notebook has a loop running: the plain call works there, and the async one too."""
    path, model = picture(tmp_path), Written()

    async def notebook() -> list[str | None]:
        with Reasoner(model, model) as reasoner:
            plain = reasoner.reason(path, "Is it red?", ["yes", "no"])
            many = await asyncio.gather(*(reasoner.areason(path, f"Is it {n}?", ["yes", "no"]) for n in range(3)))
        return [plain.answer, *(r.answer for r in many)]

    assert asyncio.run(notebook()) == ["yes"] * 4


def test_the_one_line_call_has_an_async_form(tmp_path):
    """`areason` is `reason` for a running loop."""
    model = Written()
    result = asyncio.run(areason(picture(tmp_path), "Is it red?", ["yes", "no"], reasoner=model, answerer=model))
    assert result.answer == "yes"


def test_a_failed_episode_raises_with_its_result(tmp_path):
    """A failure is never mistaken for an abstention: `reason` raises, and what was learned is in the error."""
    model = Written(fails="Round 1")
    with Reasoner(model, model) as reasoner, pytest.raises(EpisodeFailed, match="ConnectionError: gone") as caught:
        reasoner.reason(picture(tmp_path), "Is it red?")
    assert len(caught.value.result.memory) == 2


def test_stream_gives_events_and_then_the_result():
    """Events come one by one as they happen; the last item is the result."""
    model = Written()
    with Reasoner(model, model) as reasoner:
        *events, result = reasoner.stream(problem())
    assert isinstance(result, Result)
    assert any(isinstance(e, VerdictReached) for e in events)


def test_a_stream_left_early_cancels_its_calls():
    """Walking away from a stream stops the work behind it."""
    model = Written(pause=0.01)
    with Reasoner(model, model) as reasoner:
        for _ in reasoner.stream(problem()):
            break
        time.sleep(0.05)
        made = len(model.calls)
        time.sleep(0.05)
        assert len(model.calls) == made
    assert model.now == 0


def test_a_stream_passes_on_what_goes_wrong():
    """An error that is no outcome of the episode is raised where the stream is read."""
    text_only = Capabilities("text")
    model = Scripted([], images=False, looks=False)
    with Reasoner(Written(), model) as reasoner, pytest.raises(BadPolicy, match="takes no images"):
        list(reasoner.stream(problem()))
    assert not text_only.images


def test_closing_leaves_no_thread_behind():
    """After `close` every thread and task of ours is gone, also when called twice or never used."""
    before = threading.enumerate()  # other tests of this process may have left some, or their libraries start some

    def ours() -> list[str]:
        new = [thread.name for thread in threading.enumerate() if thread not in before]
        return [name for name in new if name.startswith("iterreason")]

    reasoner = Reasoner(Written(), Written())
    reasoner.close()
    reasoner.solve(problem())
    assert ours() == ["iterreason"]
    reasoner.close()
    reasoner.close()
    assert not ours()


def test_an_interrupt_cancels_the_work(tmp_path):
    """Ctrl-C in the middle of a call cancels it, leaves nothing running, and the reasoner can be used again."""
    main = threading.main_thread().ident
    assert main is not None
    model = Written(pause=30)
    with Reasoner(model, model) as reasoner:
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
        began = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            reasoner.solve(problem())
        assert time.perf_counter() - began < 10
        assert model.now == 0
        model.pause = 0
        assert reasoner.solve(problem()).answer == "yes"


def test_models_are_closed_when_the_policy_does_not_fit():
    """When resolving fails nothing of ours stays open, and the caller's own model is left as it is."""
    model = Written()
    blind = Scripted([], images=False, looks=False)
    with Reasoner(model, blind) as reasoner, pytest.raises(BadPolicy):
        reasoner.open()
    assert model.closed == 0


def test_one_model_can_play_both_roles():
    """`answerer="same"` gives both roles to one model."""
    model = Written()
    with Reasoner(model, "same") as reasoner:
        assert reasoner.solve(problem()).answer == "yes"
    assert {c.slot for c in model.calls} == {"reasoner", "answerer:0"}


def test_direct_opens_no_reasoner():
    """A policy without a reasoner needs none: not even a wrong URI is looked at."""
    with Reasoner("nonsense:", Written(), policy="direct") as reasoner:
        assert reasoner.solve(problem()).models == ("written",)


@pytest.mark.parametrize("uri", ["gpt", "hff:x", "openai", "hf:", "embedded:x", "scripted:", ""])
def test_an_unknown_model_names_the_forms(uri):
    """A URI that names no backend, or no model of it, is refused with the forms that exist."""
    with (
        Reasoner(uri or "?", Written()) as reasoner,
        pytest.raises(UnknownModel, match=r"openai:MODEL@http|the form is"),
    ):
        reasoner.open()


def test_bad_arguments_are_refused_before_any_model(tmp_path):
    """Choices as text, no episode in flight, a question without end, a missing file: each a clear error."""
    with pytest.raises(BadProblem, match="must be a list"):
        make_problem(picture(tmp_path), "Is it?", "yes,no")
    with pytest.raises(Misuse, match="at least 1, not 0"):
        Reasoner(concurrency=0)
    with pytest.raises(BadProblem, match="1,000,000 characters"):
        make_problem(picture(tmp_path), "x" * 1_000_000)
    with pytest.raises(BadProblem, match="empty"):
        make_problem(picture(tmp_path), "  ")
    with pytest.raises(BadImage, match=r"nothing\.png"):
        make_problem(tmp_path / "nothing.png", "Is it?")
    with pytest.raises(BadProblem, match="at least one image"):
        make_problem([], "Is it?")


def test_a_traced_run_is_resumed_by_the_same_call(tmp_path):
    """`trace=` on an unfinished file goes on where it stopped; a finished or another one is refused."""
    path, trace = picture(tmp_path), tmp_path / "t.jsonl"
    model = Written()
    ask = dict(image=path, question="Is it red?", choices=["yes", "no"], trace=trace)
    with Reasoner(model, model) as reasoner:
        result = reasoner.reason(**ask)
        made = len(model.calls)
        lines = trace.read_text().splitlines(keepends=True)
        trace.write_text("".join(lines[:3]))
        again = reasoner.reason(**ask)
        assert again.answer == result.answer
        assert len(model.calls) < 2 * made
        assert len(trace.read_text().splitlines()) == len(lines)
        with pytest.raises(Misuse, match="finished episode"):
            reasoner.reason(**ask)
        trace.write_text("".join(lines[:3]))
        with pytest.raises(Misuse, match="another question"):
            reasoner.reason(path, "Is it blue?", ["yes", "no"], trace=trace)
    replayed = replay(_finished(trace, lines))
    assert (replayed.answer, replayed.memory) == (result.answer, result.memory)


def _finished(trace: Path, lines: list[str]) -> Path:
    trace.write_text("".join(lines))
    return trace


def test_a_torn_trace_is_resumed_cleanly(tmp_path):
    """A last line torn by a kill is cut off before the run goes on, so that the file stays readable."""
    path, trace, model = picture(tmp_path), tmp_path / "t.jsonl", Written()
    with Reasoner(model, model) as reasoner:
        result = reasoner.reason(path, "Is it red?", ["yes", "no"], trace=trace)
        text = trace.read_text()
        cut = text.index("\n", text.index("\n") + 1) + 50
        trace.write_text(text[:cut])
        again = reasoner.reason(path, "Is it red?", ["yes", "no"], trace=trace)
    assert replay(trace).memory == again.memory == result.memory


def test_one_line_calls_at_once_do_not_end_each_other(tmp_path):
    """Two policies in flight through the one-line call both come to their end."""
    model, path = Written(pause=0.01), picture(tmp_path)

    async def both() -> list[str | None]:
        calls = (areason(path, "Is it red?", ["yes", "no"], policy=p, reasoner=model, answerer=model) for p in POLICIES)
        return [r.answer for r in await asyncio.gather(*calls)]

    assert asyncio.run(both()) == ["yes", "yes"]


POLICIES = ("evidence", "direct")


def test_an_edited_policy_file_is_another_policy(tmp_path):
    """The one-line call takes the file as it is now."""
    model, path, mine = Written(), picture(tmp_path), tmp_path / "mine.toml"
    hashes = set()
    for threshold in ("0.9", "0.8"):
        mine.write_text(find_policy("evidence").text.replace("confident = 0.9", f"confident = {threshold}"))
        hashes.add(
            one_line_reason(path, "Is it?", ["yes", "no"], policy=mine, reasoner=model, answerer=model).policy_hash
        )
    assert len(hashes) == 2


def test_a_callback_that_ends_the_program_ends_it():
    """`sys.exit` in a callback is raised where the caller waits; nothing hangs."""
    with Reasoner(Written(), Written()) as reasoner, pytest.raises(SystemExit):
        reasoner.solve(problem(), on_events=lambda events: sys.exit(3))


def test_a_callback_cannot_wait_for_its_own_reasoner():
    """Asking the same reasoner from its callback would wait for itself; it is refused."""
    with Reasoner(Written(), Written()) as reasoner, pytest.raises(Misuse, match="callback"):
        reasoner.solve(problem(), on_events=lambda events: print(reasoner.solve(problem())))


def _solve_in_child(reasoner: Reasoner, answers) -> None:
    answers.put(reasoner.solve(problem()).answer)


def test_a_forked_process_goes_on_by_itself():
    """A reasoner used before a fork works in the child, which has none of the parent's threads."""
    context = multiprocessing.get_context("fork")
    with Reasoner(Written(), Written()) as reasoner:
        reasoner.solve(problem())
        answers = context.SimpleQueue()
        child = context.Process(target=_solve_in_child, args=(reasoner, answers))
        child.start()
        child.join(20)
        assert child.exitcode == 0
        assert answers.get() == "yes"


def test_a_batch_is_recorded_an_episode_a_line(tmp_path):
    """Each episode of a batch is a line of the trace, which replays to its result, failures too."""
    model, trace = Written(fails="thing 2"), tmp_path / "batch.jsonl"
    with Reasoner(model, model, policy="direct") as reasoner:
        results = reasoner.batch(distinct(4), trace=trace)
    assert len(trace.read_text().splitlines()) == 4
    replayed = {t.problem.question: t.replay() for t in read_traces(trace)}
    assert [replayed[r.problem.question] for r in results] == results


def other_words(one: str, other: str) -> bool:
    return one.split()[-1] == other.split()[-1]


def test_an_episode_with_a_comparison_of_its_own_replays_with_it(tmp_path):
    """A replay wants the comparison that the episode was recorded with, and says so by name."""
    model, trace = Written(), tmp_path / "t.jsonl"
    with Reasoner(model, model, same=other_words) as reasoner:
        result = reasoner.solve(problem(), trace=trace)
    recorded = read_trace(trace)
    with pytest.raises(NotRecorded, match="other_words"):
        recorded.replay()
    assert recorded.replay(same=other_words) == result


# ------------------------------------------------------------------ the reply cache


def test_the_cache_answers_the_second_time(tmp_path):
    """With a cache the same episode costs no call the second time, and ends the same."""
    results = []
    for _ in range(2):
        model = Written()
        with Reasoner(model, model, cache=tmp_path / "replies.sqlite") as reasoner:
            results.append(reasoner.solve(problem()))
    assert model.calls == []
    assert results[0].memory == results[1].memory


def test_five_votes_through_a_warm_cache_are_five_samples(tmp_path):
    """Samples are kept one by one: a warm cache gives back the five that were drawn, not one of them five times."""
    drawn = iter("ABABA")

    class Draws(Written):
        async def complete(self, call: Call, on_text=None) -> Reply:
            self.calls.append(call)
            return Reply(tuple(Sample(next(drawn)) for _ in range(call.sampling.n)))

    model = Draws()
    replies = ReplyCache(tmp_path / "replies.sqlite")
    cached = Cached(model, replies)
    prompt = EMPTY_PROMPT.plus("user", "vote")
    together = Call("reasoner", "readout", prompt, sampling=Sampling(1.0, 4, 5))
    apart = [Call("reasoner", "readout", prompt, sampling=Sampling(1.0, 4), sample=n) for n in range(5)]

    async def ask() -> tuple[list[str], list[str]]:
        return [s.text for s in (await cached.complete(together)).samples], [
            (await cached.complete(call)).text for call in apart
        ]

    first, _ = asyncio.run(_only_together(cached, together)), None
    assert first == list("ABABA")
    drawn = iter("BBABA")
    assert asyncio.run(ask()) == (list("ABABA"), list("BBABA"))
    drawn = iter("")
    assert asyncio.run(ask()) == (list("ABABA"), list("BBABA"))
    assert len(model.calls) == 6
    replies.close()


async def _only_together(cached: Cached, call: Call) -> list[str]:
    return [s.text for s in (await cached.complete(call)).samples]


def test_the_cache_tells_temperature_pixels_and_models_apart(tmp_path):
    """What changes the reply is in the key: sampling, image, schema, model."""
    replies = ReplyCache(tmp_path / "replies.sqlite")
    prompt = EMPTY_PROMPT.plus("user", "x")
    base = Call("reasoner", "generation", prompt)
    others = [
        Call("reasoner", "generation", prompt, sampling=Sampling(0.7)),
        Call("reasoner", "generation", prompt, schema="{}"),
        Call("reasoner", "generation", prompt.plus("assistant", "y")),
        Call("reasoner", "generation", prompt, choices=("A",)),
        Call("reasoner", "generation", prompt, sample=1),
    ]
    replies.put("m", base.key, said("kept"))
    assert replies.get("m", base.key) == said("kept")
    assert [replies.get("m", call.key) for call in others] == [None] * 5
    assert replies.get("other", base.key) is None
    replies.put("m", base.key, said("later"))
    assert replies.get("m", base.key) == said("kept")
    replies.close()


def test_errors_are_never_cached(tmp_path):
    """A failure that can pass is asked again the next time."""

    class Fails(Written):
        async def complete(self, call: Call, on_text=None) -> Reply:
            self.calls.append(call)
            return Reply(error="busy")

    model, replies = Fails(), ReplyCache(tmp_path / "replies.sqlite")
    cached = Cached(model, replies)
    for _ in range(2):
        assert asyncio.run(cached.complete(Call("reasoner", "generation", EMPTY_PROMPT))).error == "busy"
    assert len(model.calls) == 2
    replies.close()


def _fill(path: Path, worker: int) -> None:
    replies = ReplyCache(path)
    for n in range(100):
        replies.put("m", f"{n}", said(f"{worker}"))
        assert replies.get("m", f"{n}") is not None
    replies.close()


def test_several_processes_share_a_cache(tmp_path):
    """Writers in other processes neither lock each other out nor lose or change a reply."""
    path = tmp_path / "replies.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0, 0]
    replies = ReplyCache(path)
    assert all(replies.get("m", f"{n}") is not None for n in range(100))
    replies.close()


def test_what_is_no_cache_is_refused(tmp_path):
    """A file that is not an SQLite database is the user's mistake, named."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be read as one " * 10)
    with pytest.raises(Misuse, match="as a reply cache"):
        ReplyCache(path)
