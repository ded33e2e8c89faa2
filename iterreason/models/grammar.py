"""JSON that follows its schema by construction: llguidance grammars, one matcher for each row of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from iterreason.errors import Misuse

# Compact JSON: white space costs tokens and gives small models room to ramble.
COMPACT: Any = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}


class BadSchema(Misuse):
    """The JSON schema cannot be made into a grammar."""


class Grammars:
    """Makes matchers for one tokenizer; each schema is compiled once.

    tokens: size of the model's output vocabulary, which may be larger than the tokenizer's.
    ends: token ids that end a reply, the first of them is forced on finished rows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, tokens: int, ends: Sequence[int]) -> None:
        self.tokens, self.ends = tokens, tuple(ends)
        self._tokenizer = from_tokenizer(tokenizer, n_vocab=tokens, eos_token=list(ends))
        self._compiled: dict[str, LLMatcher] = {}

    def matcher(self, schema: str) -> LLMatcher:
        """A fresh matcher for this JSON schema (as text); raises BadSchema where it is none."""
        if schema not in self._compiled:
            try:
                grammar = LLMatcher.grammar_from_json_schema(schema, overrides=COMPACT)
            except ValueError as error:
                raise BadSchema(f"the schema is no JSON object ({error}): {schema[:80]!r}") from error
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
            if matcher.is_error():
                raise BadSchema(f"the schema makes no grammar: {matcher.get_error().splitlines()[0]}")
            self._compiled[schema] = matcher
        return self._compiled[schema].deep_copy()


class Constraint(LogitsProcessor):  # type: ignore[misc]  # transformers' classes are untyped
    """Lets each row choose only tokens that its grammar allows; a finished row only the end.

    matchers: one for each row; None leaves a row free.
    As a logits processor of `generate` it reads the chosen tokens off `input_ids`; a decoding loop of one's own tells
    it with `advance`, and may take the tokens that have no alternative from `forced`.
    """

    def __init__(self, matchers: Sequence[LLMatcher | None], ends: Sequence[int]) -> None:
        self._matchers, self._ends = list(matchers), tuple(ends)
        self._ended = [False] * len(self._matchers)
        self._seen: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores (rows, tokens) with -inf wherever a row may not go."""
        if self._seen is not None:
            for row, tokens in enumerate(input_ids[:, self._seen :].tolist()):
                self.advance(row, tokens)
        self._seen = input_ids.shape[1]
        return torch.stack([self.mask(row, scores[row]) for row in range(len(scores))])

    def mask(self, row: int, scores: torch.Tensor) -> torch.Tensor:
        """One row's scores (tokens) with -inf wherever it may not go."""
        matcher = self._matchers[row]
        if self._ended[row]:
            allowed = torch.zeros(len(scores), dtype=torch.bool)
            allowed[self._ends[0]] = True
        elif matcher is None:
            return scores
        else:
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
            allowed = torch.from_numpy(bits[: len(scores)]).bool()
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)

    def advance(self, row: int, tokens: Sequence[int]) -> None:
        """Tell which tokens a row took; what comes after its end is ignored."""
        matcher = self._matchers[row]
        for token in tokens:
            if not self._ended[row]:
                if matcher is not None and not matcher.consume_token(token):
                    raise BadSchema(f"the grammar broke off: {matcher.get_error().splitlines()[0]}")
                self._ended[row] = token in self._ends or (matcher is not None and matcher.is_stopped())

    def forced(self, row: int) -> list[int]:
        """The tokens that have no alternative in this row now: keys, brackets, the rest of a literal."""
        matcher = self._matchers[row]
        return [] if matcher is None or self._ended[row] else list(matcher.compute_ff_tokens())

    def ended(self, row: int) -> bool:
        """Whether this row is finished."""
        return self._ended[row]
