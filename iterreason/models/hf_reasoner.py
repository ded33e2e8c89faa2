"""A causal language model as reasoner: batched, grammar-constrained, and computing only what is new in a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import get_layer_types_and_kwargs

from iterreason.calls import Call, Capabilities, Reply, Sample, Tokens
from iterreason.errors import ModelFailed, UnknownModel
from iterreason.models import OnText
from iterreason.models.batching import Batcher, one_line
from iterreason.models.dice import dice_of, draw
from iterreason.models.grammar import Constraint, Grammars
from iterreason.models.letters import first_tokens
from iterreason.models.prefix import PrefixCache, Rows, common_prefix

BATCH_CALLS = 16
BATCH_ROWS = 32  # rows that decode together; more samples than these are decoded in turns
PREFIX_BYTES = 768 * 2**20  # key/value states kept; of SmolLM2-135M about 33,000 tokens in bfloat16
WORTH_SHARING = 16  # tokens that the rows of a batch must share before they are computed once for all


class Abandoned(Exception):
    """Nobody waits for this batch any more."""


@dataclass(slots=True)
class _Row:
    """One sample in the making: `pending` are its tokens that the model has not read yet."""

    call: Call
    place: int
    pending: list[int]
    prompt: list[int]
    dice: torch.Generator | None = None
    cached: int = 0
    chosen: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    scores: tuple[float | None, ...] = ()
    finish: str = ""

    @property
    def room(self) -> int:
        return self.call.sampling.max_tokens - len(self.chosen)

    @property
    def unscored(self) -> int:
        return len(self.chosen) - len(self.logprobs)


class CausalReasoner:
    """Answers message prompts with a causal language model in this process.

    model, tokenizer: of transformers; the tokenizer has a chat template. name: what results call it.
    prefix_bytes: of key/value states to keep between calls; 0 keeps none.

    A sample's log-probabilities are the model's own, before grammar and temperature, its end token included.
    A call's seconds are its share of its batch's. With a seed, a sample depends on its own call alone.
    Raises ModelFailed without a chat template, UnknownModel for recurrent layers.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, *, prefix_bytes: int = PREFIX_BYTES) -> None:
        if not tokenizer.chat_template:
            raise ModelFailed(f"{name} has no chat template; take an instruction-tuned model")
        kinds = set(get_layer_types_and_kwargs(model.config)[0])
        if kinds - {"full_attention", "sliding_attention"}:
            raise UnknownModel(f"{name} has {', '.join(sorted(kinds))} layers; only attention layers can be run here")
        # The holes of a batch would count towards the window of sliding attention.
        self._rows_at_once = BATCH_ROWS if kinds == {"full_attention"} else 1
        self._model, self._tokenizer, self._name = model, tokenizer, name
        self._context_tokens = int(model.config.max_position_embeddings)
        self._ends = _end_tokens(model, tokenizer)
        self._grammars = Grammars(tokenizer, model.get_output_embeddings().weight.shape[0], self._ends)
        self._prefixes = PrefixCache(prefix_bytes)
        self._batcher = Batcher(self._run, BATCH_CALLS, lambda call: bool(call.choices))

    def capabilities(self) -> Capabilities:
        """Text only; honours schemas, and everything can be scored."""
        return Capabilities(self._name, schema=True, logprobs=True, scores=True, context_tokens=self._context_tokens)

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one call, in a batch with those that wait; the text does not stream."""
        return await self._batcher.submit(call)

    async def close(self) -> None:
        """End the thread and drop the key/value states."""
        await self._batcher.close()
        self._prefixes.clear()

    # All below runs on the batcher's thread.

    def _run(self, calls: Sequence[Call]) -> list[Reply]:
        began = perf_counter()
        prompts = [self._prompt(call) for call in calls]
        rows = [
            _Row(call, place, list(prompt), prompt, dice_of(call, number))
            for place, (call, prompt) in enumerate(zip(calls, prompts, strict=True))
            if not isinstance(prompt, str)
            for number in range(1 if call.choices else call.sampling.n)
        ]
        try:
            with torch.inference_mode():
                for start in range(0, len(rows), self._rows_at_once):
                    some = rows[start : start + self._rows_at_once]
                    (self._score if some[0].call.choices else self._decode)(some)
        except torch.OutOfMemoryError:
            self._prefixes.clear()
            raise
        seconds = (perf_counter() - began) / len(calls)
        return [
            Reply(error=prompt) if isinstance(prompt, str) else self._reply([r for r in rows if r.place == n], seconds)
            for n, prompt in enumerate(prompts)
        ]

    def _prompt(self, call: Call) -> list[int] | str:
        """The prompt's tokens, or why there are none."""
        messages = call.prompt.messages
        if any(message.views for message in messages):
            return f"{self._name} takes no images; let the reasoner see none, or name a vision-language model"
        try:
            if call.schema:
                self._grammars.matcher(call.schema)
            tokens: list[int] = self._tokenizer.apply_chat_template(
                [{"role": m.role, "content": self._as_data(m.text)} for m in messages],
                add_generation_prompt=True,
                return_dict=False,
            )
        except Exception as error:  # the template may refuse a role, the schema may be none: this call's fault alone
            return one_line(error)
        reply = 1 if call.choices else call.sampling.max_tokens
        if len(tokens) + reply > self._context_tokens:
            needs = f"the prompt's {len(tokens):,} tokens and the reply's {reply:,}"
            return f"context: {needs} pass the {self._context_tokens:,} of {self._name}"
        return tokens

    def _as_data(self, text: str) -> str:
        """The text with a blank in what would be read as a control token: text from an image must not end a turn."""
        for token in self._tokenizer.all_special_tokens:
            text = text.replace(token, f"{token[:1]} {token[1:]}")
        return text

    def _begin(self, rows: Sequence[_Row]) -> Rows:
        """A batch that holds what is known of the rows' prompts; what is new becomes their `pending`."""
        first = rows[0].prompt
        known = self._prefixes.find(first[:-1])[0]
        shared = first[: min(common_prefix(*(row.prompt for row in rows)), len(first) - 1)]
        if len(rows) > 1 and len(shared) - known >= WORTH_SHARING and self._prefixes.limit:
            head = Rows(self._model, [self._prefixes.find(shared)[1]])
            head.feed([shared[head.lengths[0] :]], keep=1)
            self._prefixes.add(shared, lambda start: head.states(0, start))
        found = [self._prefixes.find(row.prompt[:-1]) for row in rows]
        for row, (length, _) in zip(rows, found, strict=True):
            row.cached, row.pending = length, row.prompt[length:]
        rows[0].cached = min(known, rows[0].cached)  # this call paid for what it shares
        return Rows(self._model, [pieces for _, pieces in found])

    def _score(self, rows: Sequence[_Row]) -> None:
        batch = self._begin(rows)
        logprobs = batch.feed([row.pending for row in rows], keep=1)[:, -1].log_softmax(-1)
        for place, row in enumerate(rows):
            tokens = first_tokens(self._tokenizer, row.call.choices)
            row.scores = tuple(logprobs[place, ids].logsumexp(0).item() if ids else None for ids in tokens)
            self._remember(row, batch, place)

    def _decode(self, rows: Sequence[_Row]) -> None:
        """Sample every row to its end; a step reads each row's last choice and all that the grammar forces after it."""
        batch = self._begin(rows)
        schemas = [row.call.schema for row in rows]
        constraint = Constraint([self._grammars.matcher(s) if s else None for s in schemas], self._ends)
        for number, row in enumerate(rows):
            self._force(constraint, number, row)
        active = list(range(len(rows)))  # which row is at which place of the batch
        while active:
            scores = batch.feed([rows[n].pending for n in active], keep=1 + max(rows[n].unscored for n in active))
            logprobs = scores.log_softmax(-1)
            for place, number in enumerate(active):
                self._advance(constraint, number, rows[number], scores[place, -1], logprobs[place])
            if self._batcher.abandoned:
                raise Abandoned("nobody waits for this any more")
            going = [place for place, number in enumerate(active) if not rows[number].finish]
            for place, number in enumerate(active):
                if rows[number].finish:
                    self._remember(rows[number], batch, place)
            if 0 < len(going) < len(active):
                batch.keep(going)
            active = [active[place] for place in going]

    def _advance(self, constraint: Constraint, number: int, row: _Row, scores: Tensor, logprobs: Tensor) -> None:
        """Note what the model gave the forced tokens, then choose the next and force what follows it.

        scores: of the next token (tokens). logprobs: (last positions read, tokens).
        """
        for offset in range(row.unscored, 0, -1):
            row.logprobs.append(logprobs[-1 - offset, row.chosen[-offset]].item())
        row.pending = []
        if not constraint.ended(number) and row.room:
            token = draw(constraint.mask(number, scores), row.call.sampling.temperature, row.dice)
            constraint.advance(number, [token])
            row.pending, row.chosen = [token], [*row.chosen, token]
            row.logprobs.append(logprobs[-1, token].item())
            self._force(constraint, number, row)
        if row.unscored == 0:
            row.finish = "stop" if constraint.ended(number) else "" if row.room else "length"

    def _force(self, constraint: Constraint, number: int, row: _Row) -> None:
        forced = constraint.forced(number)[: row.room]
        constraint.advance(number, forced)
        row.pending = row.pending + forced
        row.chosen = row.chosen + forced

    def _remember(self, row: _Row, batch: Rows, place: int) -> None:
        read = (row.prompt + row.chosen)[: batch.lengths[place]]
        self._prefixes.add(read, lambda start: batch.states(place, start))

    def _reply(self, rows: Sequence[_Row], seconds: float) -> Reply:
        first = rows[0]
        if first.call.choices:
            known = [(score, choice) for score, choice in zip(first.scores, first.call.choices, strict=True)
                     if score is not None]  # fmt: skip
            samples = tuple(Sample(choice, (score,)) for score, choice in [max(known)]) if known else ()
        else:
            samples = tuple(Sample(self._text(r.chosen), tuple(r.logprobs), r.finish) for r in rows)
        made = sum(len(row.chosen) for row in rows)
        return Reply(samples, first.scores, Tokens(len(first.prompt), first.cached, made), seconds)

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode([t for t in tokens if t not in self._ends], skip_special_tokens=True)
        return text


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The token ids that end a reply, the tokenizer's own first."""
    said = model.generation_config.eos_token_id
    named = [tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])]
    ids = [*named, *(tokenizer.get_vocab().get(token) for token in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>"))]
    return list(dict.fromkeys(n for n in ids if n is not None))
