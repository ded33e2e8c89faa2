"""Constrained rows write exactly what their schema allows, and stop."""

import json
from typing import Any

import pytest
import tiny
import torch
from transformers import LogitsProcessorList

from iterreason.models.grammar import BadSchema, Constraint, Grammars


def schema(**properties: Any) -> str:
    return json.dumps(
        {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    )


SHORT = schema(sure={"type": "boolean"})
LONG = schema(
    answer={"type": "string", "maxLength": 12},
    questions={"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 2, "maxItems": 3},
)


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    return Grammars(tiny.chat_tokenizer(), 448, [1])


def test_rows_that_end_at_different_steps_keep_to_their_own_schemas(grammars: Grammars) -> None:
    """In one batch under transformers' own `generate`, each row follows its matcher; finished rows only end."""
    tokenizer = tiny.chat_tokenizer()
    schemas = [SHORT, LONG, None, SHORT, LONG]
    for seed in range(2):
        model = tiny.llama(seed)
        constraint = Constraint([grammars.matcher(s) if s else None for s in schemas], grammars.ends)
        prompt = torch.tensor([tokenizer.encode("the user asks")] * len(schemas))
        with torch.inference_mode():
            made = model.generate(
                prompt, logits_processor=LogitsProcessorList([constraint]), max_new_tokens=90, do_sample=False
            )[:, prompt.shape[1] :]
        lengths = []
        for row, of in zip(made.tolist(), schemas, strict=True):
            if of is None:
                continue
            end = row.index(1)
            assert set(row[end:]) == {1}, "a finished row writes the end and nothing else"
            written = json.loads(tokenizer.decode(row[:end]))
            assert list(written) == json.loads(of)["required"]
            lengths.append(end)
        assert lengths[0] < lengths[1], "the rows ended at different steps"


def test_no_white_space_between_the_tokens(grammars: Grammars) -> None:
    """Compact JSON only: a blank where JSON would allow one is refused."""
    tokenizer = tiny.chat_tokenizer()
    assert grammars.matcher(SHORT).try_consume_tokens(tokenizer.encode('{"sure":true}')) > 0
    for text in ('{ "sure"', '{"sure" :', '{"sure": '):
        tokens = tokenizer.encode(text)
        assert grammars.matcher(SHORT).try_consume_tokens(tokens) < len(tokens), text


def test_forced_tokens_are_those_without_an_alternative(grammars: Grammars) -> None:
    """What must come next is known without asking the model; nothing is forced once a row is free or finished."""
    tokenizer = tiny.chat_tokenizer()
    constraint = Constraint([grammars.matcher(SHORT), None], grammars.ends)
    forced = constraint.forced(0)
    assert forced
    assert '{"sure":'.startswith(tokenizer.decode(forced))
    constraint.advance(0, [*forced, *tokenizer.encode('{"sure":true}'[len(tokenizer.decode(forced)) :])])
    assert constraint.ended(0)
    assert constraint.forced(0) == constraint.forced(1) == []
    scores = torch.zeros(448)
    assert constraint.mask(0, scores).isfinite().nonzero().tolist() == [[1]]
    assert constraint.mask(1, scores) is scores


def test_a_free_row_ends_at_any_end_token() -> None:
    """Several tokens may end a reply; what follows is ignored."""
    constraint = Constraint([None], [1, 7])
    constraint.advance(0, [5, 7, 6])
    assert constraint.ended(0)


def test_a_token_that_the_grammar_forbids_is_an_error(grammars: Grammars) -> None:
    """A broken grammar is reported, not written on."""
    constraint = Constraint([grammars.matcher(SHORT)], grammars.ends)
    with pytest.raises(BadSchema, match="grammar broke off"):
        constraint.advance(0, tiny.chat_tokenizer().encode("no JSON"))


def test_each_use_of_a_schema_starts_afresh(grammars: Grammars) -> None:
    """A schema is compiled once, yet no row sees another row's progress."""
    first, second = grammars.matcher(SHORT), grammars.matcher(SHORT)
    assert first.consume_tokens(first.compute_ff_tokens())
    assert second.compute_ff_tokens() == grammars.matcher(SHORT).compute_ff_tokens() != first.compute_ff_tokens()


@pytest.mark.parametrize("text", ['{"type":', "[1, 2]", '{"type":"strin"}', "no schema"])
def test_what_is_no_schema_is_one_clear_error(grammars: Grammars, text: str) -> None:
    """A bad schema is named in one line."""
    with pytest.raises(BadSchema) as error:
        grammars.matcher(text)
    assert "\n" not in str(error.value)
