"""A vision-language chat model in either role: it reasons, with or without images in its messages, and it looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal

import torch

from iterreason.calls import Call, Capabilities, Reply, Sample, Tokens, View
from iterreason.errors import ModelFailed
from iterreason.images import decode as pixels_of
from iterreason.models import OnText
from iterreason.models.batching import Batcher, one_line
from iterreason.models.grammar import Constraint, Grammars
from iterreason.models.hf.blip import chosen
from iterreason.models.hf.chat import as_data, end_tokens
from iterreason.models.hf.continuing import rank
from iterreason.models.hf.decoding import Dice, Recorder, decode, in_parts, only_greedy, rows_of
from iterreason.models.letters import first_tokens

BATCH_CALLS = 16
BATCH_ROWS = 16  # rows that decode together; each holds the states of its images
# Families for which the tests show that a row is the same alone and in a batch; of any other a call runs alone.
BATCHED = frozenset(("llava", "idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl"))

Kind = Literal["write", "letters", "rank"]
Conversation = list[dict[str, Any]]
Inputs = dict[str, Any]
GREEDY: Dice = (0.0, None)


@dataclass(frozen=True, slots=True)
class _Row:
    """One reply in the making: a call, its messages as the chat template takes them, the dice of its sample."""

    call: Call
    conversation: Conversation
    dice: Dice = GREEDY


class VisionChat:
    """Answers messages and looks with an image-text-to-text model in this process.

    model, processor: of transformers; the processor, or its tokenizer, has a chat template. name: what results call it.

    A sample's log-probabilities are the model's own, before grammar and temperature, its end token included. Letters of
    a read-out are scored by their first token; a look's choices as whole answers, a blank or a capital before them
    allowed. With a seed, a sample depends on its own call alone. A call's seconds are its share of its batch's.
    Raises ModelFailed without a chat template.
    """

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        tokenizer = processor.tokenizer
        if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
            raise ModelFailed(f"{name} has no chat template; take an instruction-tuned model")
        if not getattr(processor, "chat_template", None):
            processor.chat_template = tokenizer.chat_template
        self._model, self._processor, self._name = model, processor, name
        self._ends = end_tokens(model, tokenizer)
        only_greedy(model)
        tokenizer.padding_side = "left"  # what is written follows the prompt at once
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._context_tokens = int(model.config.get_text_config().max_position_embeddings)
        self._grammars = Grammars(tokenizer, model.get_output_embeddings().weight.shape[0], self._ends)
        self._marks = [
            token for token, _ in sorted(tokenizer.get_added_vocab().items(), key=lambda item: -len(item[0]))
        ]
        self._rows = BATCH_ROWS if model.config.model_type in BATCHED else 1
        self._positions = [part for part in model.modules() if hasattr(part, "rope_deltas")]
        self._batcher = Batcher(self._run, BATCH_CALLS, _group)

    def capabilities(self) -> Capabilities:
        """Text and images; honours schemas, and everything can be scored."""
        can = {"images": True, "schema": True, "logprobs": True, "scores": True}
        return Capabilities(self._name, **can, context_tokens=self._context_tokens)

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one call, in a batch with those that wait; the text does not stream."""
        return await self._batcher.submit(call)

    async def close(self) -> None:
        """End the thread."""
        await self._batcher.close()

    # All below runs on the batcher's thread.

    def _run(self, calls: Sequence[Call]) -> list[Reply]:
        began = perf_counter()
        talks = [self._conversation(call) for call in calls]
        good = [(call, talk) for call, talk in zip(calls, talks, strict=True) if not isinstance(talk, str)]
        with torch.inference_mode():
            made = iter(self._answer(*zip(*good, strict=True)) if good else ())
        seconds = (perf_counter() - began) / len(calls)
        replies = [Reply(error=talk) if isinstance(talk, str) else next(made) for talk in talks]
        return [reply if reply.error else replace(reply, seconds=seconds) for reply in replies]

    def _answer(self, calls: Sequence[Call], talks: Sequence[Conversation]) -> list[Reply]:
        """Replies to calls of one kind."""
        kind = _group(calls[0])[0]
        if kind == "write":
            rows = [_Row(calls[place], talks[place], dice) for place, dice in rows_of(calls)]
            made = iter(in_parts(rows, self._rows, lambda part: self._fitting(part, self._write)))
            return [_together([next(made) for _ in range(call.sampling.n)]) for call in calls]
        rows = [_Row(*pair) for pair in zip(calls, talks, strict=True)]
        work, most = (self._rank, 1) if kind == "rank" else (self._letters, self._rows)
        return in_parts(rows, most, lambda part: self._fitting(part, work))

    def _conversation(self, call: Call) -> Conversation | str:
        """The messages as the chat template takes them, or why the call cannot be answered."""
        try:
            if call.schema:
                self._grammars.matcher(call.schema)
            talk = [
                {"role": message.role, "content": [self._part(part) for part in message.parts]}
                for message in call.prompt.messages
            ]
            if not talk:
                return f"{self._name} answers messages; this call has none"
            self._processor.apply_chat_template(talk, add_generation_prompt=True)  # it may refuse a role
        except Exception as error:  # a bad image, an odd role, no schema: this call's fault alone
            return one_line(error)
        return talk

    def _part(self, part: str | View) -> dict[str, Any]:
        if isinstance(part, View):
            return {"type": "image", "image": pixels_of(part)}
        return {"type": "text", "text": as_data(part, self._processor.tokenizer, self._marks)}

    def _inputs(self, rows: Sequence[_Row]) -> Inputs:
        """What `generate` and `forward` take; shorter rows are padded at the left."""
        for part in self._positions:  # Qwen keeps the places of the last batch's images, and would use them again
            part.rope_deltas = None
        made = self._processor.apply_chat_template(
            [row.conversation for row in rows],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": len(rows) > 1},
        )
        return dict(made.to(self._model.device, self._model.dtype))

    def _fitting(self, rows: Sequence[_Row], work: Callable[[Sequence[_Row], Inputs], list[Reply]]) -> list[Reply]:
        """Have the work done on those rows whose prompt and reply fit the context; the others get an error."""
        inputs = self._inputs(rows)
        faults = [self._too_long(*pair) for pair in zip(rows, _lengths(inputs), strict=True)]
        if not any(faults):
            return work(rows, inputs)
        left = [row for row, fault in zip(rows, faults, strict=True) if not fault]
        made = iter(self._fitting(left, work) if left else ())
        return [Reply(error=fault) if fault else next(made) for fault in faults]

    def _too_long(self, row: _Row, tokens: int) -> str:
        reply = 1 if row.call.choices else row.call.sampling.max_tokens
        if tokens + reply <= self._context_tokens:
            return ""
        needs = f"the prompt's {tokens:,} tokens and the reply's {reply:,}"
        return f"context: {needs} pass the {self._context_tokens:,} of {self._name}"

    def _write(self, rows: Sequence[_Row], inputs: Inputs) -> list[Reply]:
        """A reply in words for each row."""
        schemas = [row.call.schema for row in rows]
        matchers = [self._grammars.matcher(schema) if schema else None for schema in schemas]
        written = decode(
            self._model,
            inputs,
            [row.dice for row in rows],
            rows[0].call.sampling.max_tokens,
            self._ends,
            constraints=[Constraint(matchers, self._ends)] if any(schemas) else (),
            abandoned=lambda: self._batcher.abandoned,
        )
        return [
            Reply((one.sample(self._processor.tokenizer),), tokens=Tokens(tokens, completion=len(one.tokens)))
            for one, tokens in zip(written, _lengths(inputs), strict=True)
        ]

    def _letters(self, rows: Sequence[_Row], inputs: Inputs) -> list[Reply]:
        """The probability of each letter as the first token of a reply."""
        recorder = Recorder()
        decode(self._model, inputs, [GREEDY] * len(rows), 1, self._ends, constraints=[recorder])
        replies = []
        for row, logprobs, tokens in zip(rows, recorder.last, _lengths(inputs), strict=True):
            first = first_tokens(self._processor.tokenizer, row.call.choices)
            scores = tuple(logprobs[ids].logsumexp(0).item() if ids else None for ids in first)
            known = [(score, choice) for score, choice in zip(scores, row.call.choices, strict=True)
                     if score is not None]  # fmt: skip
            samples = tuple(Sample(choice, (score,)) for score, choice in [max(known)]) if known else ()
            replies.append(Reply(samples, scores, Tokens(tokens)))
        return replies

    def _rank(self, rows: Sequence[_Row], inputs: Inputs) -> list[Reply]:
        """The choices of one look, each scored as a whole answer."""
        [row] = rows
        scores = rank(self._model, self._processor.tokenizer, inputs, row.call.choices, self._ends)
        return [replace(chosen(row.call, [(score,) for score in scores]), tokens=Tokens(*_lengths(inputs)))]


def _together(replies: Sequence[Reply]) -> Reply:
    """The samples of one call as its reply; the prompt counts once."""
    if failed := next((reply for reply in replies if reply.error), None):
        return failed
    completion = sum(reply.tokens.completion for reply in replies)
    samples = tuple(sample for reply in replies for sample in reply.samples)
    return replace(replies[0], samples=samples, tokens=replace(replies[0].tokens, completion=completion))


def _group(call: Call) -> tuple[Kind, int, bool]:
    """Calls that can share a batch: of one kind and length, all with images or none."""
    kind: Kind = "write" if not call.choices else "rank" if call.purpose == "look" else "letters"
    return kind, call.sampling.max_tokens, any(message.views for message in call.prompt.messages)


def _lengths(inputs: Inputs) -> list[int]:
    lengths: list[int] = inputs["attention_mask"].sum(1).tolist()
    return lengths
