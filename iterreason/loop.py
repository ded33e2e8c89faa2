"""The loop: ask → look → conclude → stop or go on. It does no I/O; whoever drives it makes the calls.

turn = next(running)                      # what to do, and what has happened
turn = running.send(Returned(replies))    # … until StopIteration brings the Result
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from iterreason import calls, prompts
from iterreason.attributing import attributed
from iterreason.calls import Call, Look, Prompt, Reply, Returned, Sampling, Turn, View
from iterreason.confidence import from_scores, majority
from iterreason.estimating import estimated, recognised
from iterreason.exemplars import caption_exemplars
from iterreason.folding import match_choice
from iterreason.generating import generate, generate_rationale
from iterreason.looking import put, second_looks, vetoed
from iterreason.memory import EMPTY, Memory, known_before, repeated
from iterreason.plan import Plan
from iterreason.planning import planned
from iterreason.records import Candidate, Problem, Question, Result, Verdict
from iterreason.replies import questions_schema, read_questions, read_verdict, verdict_schema
from iterreason.settling import settle, settle_by_verdict
from iterreason.starting import direct_verdict, first_looks
from iterreason.state import Direct, Ended, NotRead, State, Steps
from iterreason.tools.uses import learn_use, refused, use_call
from iterreason.voting import leading
from iterreason.worth import weighed

Episode = Generator[Turn, Returned, Result]


def episode(problem: Problem, plan: Plan, *, start: Memory = EMPTY, seed: int | None = None) -> Episode:
    """Reason about one problem: yields the turns to make, is sent what came of them, returns the result.

    start: what is already known (for a follow-up question). seed: for models that sample.
    Raises BadProblem where the policy cannot take the problem.
    """
    state = State(problem, plan, known_before(start), seed)
    error = None
    try:
        yield from caption_exemplars(state)
        yield from look(state, first_looks(state))
        reason = yield from _rounds(state)
    except Ended as end:
        reason, error = end.reason, end.error
    weights = (yield from attributed(state, error)) if plan.attribution else None
    if state.events:
        yield Turn((), state.take_events())
    return replace(state.result(reason, error), attribution=weights)


def _rounds(state: State) -> Steps[str]:
    for number in range(1, state.policy.rounds.max + 1):
        state.begin(number)
        if state.policy.plan.steps:
            yield from planned(state, generate, look)
        else:
            questions = yield from _ask(state)
            yield from look(state, questions)
        verdict = yield from _conclude(state)
        if reason := state.close(verdict):
            return reason
    return "all rounds" if state.plan.all_rounds else "budget: rounds"


# ------------------------------------------------------------------ ask


def _ask(state: State) -> Steps[tuple[Question, ...]]:
    """The round's new sub-questions: in the layout `append` the last verdict asked them already."""
    if state.policy.layout == "separate":
        by_answerer = state.policy.verdict_by == "answerer"  # what it says directly is the verdict of round 1
        if not state.policy.rounds.questions or (by_answerer and state.number == 1):
            return ()
        prompt = _separate(state, "ask")
        schema = questions_schema(state.problem, state.plan)
        asked, _ = yield from generate(
            state, prompt, schema, lambda text: read_questions(text, state.problem, state.plan)
        )
    else:
        asked = state.rounds[-1].verdict.questions if state.rounds else ()
    new = _new(state, asked)
    if new:
        state.events.append(calls.QuestionsAsked(state.number, new))
    return tuple(question for question in new if not (refused(state, question) or vetoed(state, question)))


def _new(state: State, asked: Sequence[Question]) -> tuple[Question, ...]:
    """The questions that neither the memory answers nor an earlier one of them asks."""
    same, new = state.plan.same, list[Question]()
    for question in asked:
        place = question.image, question.region
        again = any((q.image, q.region) == place and same(q.text, question.text) for q in new)
        if not again and repeated(state.memory, question, same) is None:
            new.append(question)
    return tuple(new)


def _separate(state: State, step: str) -> Prompt:
    rationale = state.rounds[-1].verdict.rationale if state.rounds else ""
    return prompts.separate_prompt(state.problem, state.plan, state.memory, state.number, step, rationale)


# ------------------------------------------------------------------ look


def look(state: State, questions: Sequence[Question]) -> Steps[None]:
    """Put questions to the answerer, all at once; what it says becomes evidence. Where it is in doubt, ask the next."""
    looks = (*questions, *state.wanted)
    state.wanted = ()
    if not looks:
        return
    made = [use_call(state, question) if question.use else _look_call(state, question, 0) for question in looks]
    replies = yield from put(state, looks, made, _learn)
    # A tool that fails leaves the reasoner what the answerer says, or the choice of another.
    replies = tuple(reply for reply, call in zip(replies, made, strict=True) if call.slot == "answerer:0")
    replies += yield from second_looks(state, [q for q in looks if not q.use], _look_call, _learn)
    yield from settle(state, _look_call, _learn)
    # A question too long for the answerer is the question's fault; the reasoner reads so and can ask another.
    if replies and all(reply.error and not reply.error.startswith("context:") for reply in replies):
        raise Ended("error", f"the answerer failed: {replies[0].error}")


def _look_call(state: State, question: Question, place: int) -> Call:
    """The call that puts a question to one of the answerers; `place` is 0 for the first."""
    view = View(state.problem.images[question.image], question.region)
    direct = not state.number and question.text == state.problem.question.strip()
    choices = state.problem.choices if direct else ()
    asked = question if question.text else None
    look = state.policy.look
    temperature, samples = (look.temperature, look.samples) if direct else (0.0, 1)
    return Call(
        slot=f"answerer:{place}",
        purpose="look",
        prompt=prompts.look_prompt(state.plan, view, asked, choices),
        look=Look(view, question.text or None),
        sampling=Sampling(temperature, look.max_tokens, samples, state.seed),
        choices=choices,
    )


def _learn(state: State, question: Question, call: Call, reply: Reply) -> None:
    """Turn a look's reply into evidence."""
    if question.use:
        return learn_use(state, question, reply)
    model = state.plan.answerers[int(call.slot.removeprefix("answerer:"))]
    said = next((sample for sample in reply.samples if sample.text.strip()), None)
    if reply.error or said is None:
        state.add("error", question.text, reply.error or "the answer is empty", None, model, question)
        return
    answer, probability = said.text.strip(), said.probability
    direct: tuple[Candidate, ...] = ()
    if call.sampling.n > 1:
        texts = [sample.text.strip() for sample in reply.samples]
        named_each = [match_choice(text, call.choices) for text in texts] if call.choices else texts
        direct = majority(named_each, state.plan.same)
        answer, probability = (direct[0].answer, direct[0].probability) if direct else (answer, None)
    elif call.choices:
        named = match_choice(answer, call.choices)
        estimate = from_scores(named, call.choices, reply, state.plan.same)
        direct = estimate.belief or ((Candidate(named, probability),) if named else ())
        answer, probability = named or answer, estimate.confidence if estimate.belief else probability
    elif not state.number and question.text:
        direct = (Candidate(answer, probability),)
    found = state.add("answer" if question.text else "caption", question.text, answer, probability, model, question)
    if direct:
        state.directs += (Direct(found.number, state.plan.reliability.weight(model, question.text), direct),)


# ------------------------------------------------------------------ conclude


def _conclude(state: State) -> Steps[Verdict]:
    """The verdict of this round, with the policy's confidence in it."""
    if state.policy.rounds.conclude == "last" and state.number < state.policy.rounds.max:
        return Verdict(None)
    if state.policy.verdict_by == "answerer":
        verdict = direct_verdict(state)
    else:
        prompt = _separate(state, "conclude") if state.policy.layout == "separate" else _grown(state)
        reason = None
        if state.policy.reasoner.rationale_first:
            prompt, reason = yield from generate_rationale(state, prompt)
        schema = verdict_schema(state.problem, state.plan, state.number)
        try:
            verdict, text = yield from generate(
                state,
                prompt,
                schema,
                lambda text: read_verdict(text, state.problem, state.plan, len(state.memory), state.number),
            )
        except NotRead:
            if not state.samples:
                raise
            verdict, text = Verdict(None), ""  # one sample of many: it counts, for no answer
        verdict = replace(verdict, rationale=reason[0], cites=reason[1]) if reason else verdict
        state.prompt = prompt.plus("assistant", text)
    if state.plan.confidence == "majority":
        state.samples += (verdict,)
        return leading(state.samples, state.plan.same)
    try:
        concluded = yield from recognised(state, verdict)
        verdict = yield from estimated(state, concluded)
    except Ended:
        state.close(verdict, estimated=False)
        raise
    settle_by_verdict(state, concluded)
    return weighed(state, verdict)


def _grown(state: State) -> Prompt:
    """The conversation with what was learned since the last verdict."""
    added = state.memory.since(state.rendered)
    state.rendered = state.memory
    if not state.prompt.length:
        return prompts.problem_prompt(state.problem, state.plan, state.memory, state.number, state.shown)
    return prompts.evidence_prompt(state.prompt, state.plan, added, state.number, state.problem.images)
