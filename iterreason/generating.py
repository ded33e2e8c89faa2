"""Having the reasoner write: a reply that cannot be read is shown to it once, a prompt too long is never sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from iterreason import calls, prompts
from iterreason.calls import Call, Prompt, Reply, Sampling
from iterreason.replies import Unreadable, rationale_schema, read_rationale
from iterreason.state import Ended, NotRead, State, Steps

T = TypeVar("T")

VOTE_TEMPERATURE = 1.0
LETTER_TOKENS = 4  # enough for a letter, or for a word that names a choice
_CHARS_A_TOKEN = 3  # on the safe side for English; used only for text whose tokens no reply has counted yet


def generate(state: State, prompt: Prompt, schema: str, read: Callable[[str], T]) -> Steps[tuple[T, str]]:
    """Have the reasoner write a reply and read it; one that cannot be read is shown to it, once. Raises NotRead."""
    sampling = Sampling(state.policy.reasoner.temperature, state.policy.reasoner.max_tokens, seed=state.seed)
    # Votes are independent samples of one prompt: the round tells them apart.
    sample = state.number - 1 if state.plan.confidence == "majority" else 0
    _check_context(state, prompt, sampling.max_tokens)
    call = Call("reasoner", "generation", prompt, sampling=sampling, schema=schema, sample=sample)
    reply = yield from ask_reasoner(state, call)
    text = reply.text
    try:
        return read(text), text
    except Unreadable as fault:
        state.events.append(calls.ReplyRejected(state.number, str(fault)))
        branch = prompts.reask_prompt(prompt, state.plan, text, str(fault))
    call = Call("reasoner", "reask", branch, sampling=sampling, schema=schema, sample=sample)
    text = (yield from ask_reasoner(state, call)).text
    try:
        return read(text), text
    except Unreadable as fault:
        raise NotRead(str(fault)) from None


def generate_rationale(state: State, prompt: Prompt) -> Steps[tuple[Prompt, tuple[str, tuple[int, ...]]]]:
    """Have a rationale written in a reply of its own; gives the prompt for the answer, and what was read.

    Source: Multimodal-CoT (Zhang et al. 2023, arXiv 2302.00923): rationale generation, then answer inference from it.
    """
    schema = rationale_schema(state.plan)
    read, text = yield from generate(
        state, prompt, schema, lambda text: read_rationale(text, state.plan, len(state.memory))
    )
    return prompts.answer_prompt(prompt.plus("assistant", text), state.plan, state.problem), read


def ask_reasoner(state: State, call: Call) -> Steps[Reply]:
    """Have the reasoner take one call; raises Ended where it fails or runs out of time or context."""
    replies = yield from state.make([call])
    return _usable(state, [call], replies)[0]


def ask_all(state: State, made: list[Call]) -> Steps[tuple[Reply, ...]]:
    """Have the reasoner take some calls at once; raises Ended where one fails or runs out of time or context."""
    replies = yield from state.make(made)
    return _usable(state, made, replies)


def _usable(state: State, made: list[Call], replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
    for call, reply in zip(made, replies, strict=True):
        if reply.error in calls.CUT_OFF and state.ending:
            raise Ended(state.ending)
        if reply.error and reply.error.startswith("context:"):
            raise Ended("budget: context")
        if reply.error:
            raise Ended("error", f"the reasoner failed: {reply.error}")
        if call.purpose == "generation":
            state.prompt_tokens = reply.tokens.prompt + reply.tokens.completion
    return replies


def letter_votes(state: State) -> Sampling:
    """How a read-out by letter is sampled where it cannot be scored."""
    return Sampling(VOTE_TEMPERATURE, LETTER_TOKENS, state.policy.reasoner.votes, state.seed)


def _check_context(state: State, prompt: Prompt, reply_tokens: int) -> None:
    """End before a prompt that the reasoner's context, or the budget, cannot hold."""
    limits = [n for n in (state.policy.budget.context_tokens, state.plan.context_tokens) if n is not None]
    last = prompt.message
    if not limits or not state.prompt_tokens or last is None:
        return
    grown = state.prompt_tokens if state.policy.layout == "append" else 0
    added = (last.text if grown else "".join(m.text for m in prompt.messages)).encode()
    if grown + len(added) // _CHARS_A_TOKEN + reply_tokens > min(limits):
        raise Ended("budget: context")
