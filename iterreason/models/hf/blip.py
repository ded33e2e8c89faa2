"""BLIP as answerer: questions about an image, or captions, with the probability of every answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from iterreason.calls import Call, Reply, Sample, Tokens
from iterreason.models import CAPTION_QUESTION
from iterreason.models.dice import dice_of, draw
from iterreason.models.hf.decoding import Dice, decode, in_parts, only_greedy, rows_of
from iterreason.models.hf.looker import BATCH_ROWS, Looker, question_of


def open_blip(model: Any, where: str, name: str) -> BlipAnswerer:
    """Make an answerer of a loaded BlipForQuestionAnswering or BlipForConditionalGeneration."""
    import transformers
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil  # needs no torchvision

    tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    return BlipAnswerer(model, tokenizer, BlipImageProcessorPil.from_pretrained(where), name)


class BlipAnswerer(Looker):
    """Answers looks with BLIP in this process.

    model: BlipForQuestionAnswering or BlipForConditionalGeneration; the latter gives captions only.
    tokenizer, images: its tokenizer and its image processor. name: what results call it.

    A sample's log-probabilities are the model's own, before temperature, its end token included. Choices are scored as
    whole answers by the sum of their tokens' log-probabilities.
    """

    def __init__(self, model: Any, tokenizer: Any, images: Any, name: str) -> None:
        super().__init__(model, images, name)
        self._tokenizer = tokenizer
        text = model.config.text_config
        self._begin, self._end = text.bos_token_id, text.sep_token_id
        self._longest = int(text.max_position_embeddings)
        self._asks = hasattr(model, "text_encoder")
        only_greedy(model.text_decoder)
        for part, module in model.named_modules():
            if part.endswith("crossattention.self"):
                module.register_forward_pre_hook(_heed_mask, with_kwargs=True)

    # All below runs on the batcher's thread.

    def _fault(self, call: Call) -> str:
        if question_of(call) is not None and not self._asks:
            return f"{self._name} gives captions only; name a model that answers questions"
        for text in (_question(call), *call.choices):
            tokens = len(self._tokenizer(text).input_ids)
            if tokens > self._longest:
                return f"context: {text[:40]!r}… has {tokens:,} tokens; {self._name} takes {self._longest:,}"
        return ""

    def _answer(self, calls: Sequence[Call], seen: Sequence[Tensor]) -> list[Reply]:
        states = torch.stack(list(seen))
        heard = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        lengths = [1] * len(calls)
        if self._asks:
            asked = self._tokenizer([_question(call) for call in calls], padding=True, return_tensors="pt")
            ids, mask = asked.input_ids.to(states.device), asked.attention_mask.to(states.device)
            encoded = self._model.text_encoder(
                input_ids=ids, attention_mask=mask, encoder_hidden_states=states, encoder_attention_mask=heard
            )
            states, heard, lengths = encoded.last_hidden_state, mask, mask.sum(1).tolist()
        make = self._rank if calls[0].choices else self._generate
        replies = make(calls, states, heard)
        return [
            replace(reply, tokens=Tokens(length, completion=sum(len(s.logprobs or ()) for s in reply.samples)))
            for reply, length in zip(replies, lengths, strict=True)
        ]

    def _generate(self, calls: Sequence[Call], heard: Tensor, mask: Tensor) -> list[Reply]:
        """Token by token until the end, every sample of a call in a row of its own."""

        def write(rows: Sequence[tuple[int, Dice]]) -> list[Any]:
            places = torch.tensor([place for place, _ in rows], device=heard.device)
            inputs = {
                "input_ids": torch.full((len(rows), 1), self._begin, device=heard.device),
                "attention_mask": torch.ones((len(rows), 1), dtype=torch.long, device=heard.device),
                "encoder_hidden_states": heard[places],
                "encoder_attention_mask": mask[places],
            }
            most = min(calls[0].sampling.max_tokens, self._longest - 1)
            return decode(self._model.text_decoder, inputs, [dice for _, dice in rows], most, [self._end])

        rows = rows_of(calls)
        made: list[list[Sample]] = [[] for _ in calls]
        for (place, _), written in zip(rows, in_parts(rows, BATCH_ROWS, write), strict=True):
            made[place].append(written.sample(self._tokenizer))
        return [Reply(tuple(samples)) for samples in made]

    def _rank(self, calls: Sequence[Call], heard: Tensor, mask: Tensor) -> list[Reply]:
        """Score every choice as a whole answer, by teacher forcing."""
        counts = [len(call.choices) for call in calls]
        owners = torch.repeat_interleave(torch.tensor(counts)).to(heard.device)
        texts = [choice for call in calls for choice in call.choices]
        answers = self._tokenizer(texts, padding=True, return_tensors="pt").to(heard.device)
        ids = answers.input_ids
        ids[:, 0] = self._begin
        logits = self._model.text_decoder(
            input_ids=ids,
            attention_mask=answers.attention_mask,
            encoder_hidden_states=heard[owners],
            encoder_attention_mask=mask[owners],
            use_cache=False,
        ).logits
        tokens = logits[:, :-1].float().log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        lengths = answers.attention_mask[:, 1:].sum(1).tolist()
        rows = [row[:length] for row, length in zip(tokens.tolist(), lengths, strict=True)]
        replies = []
        for call in calls:
            own, rows = rows[: len(call.choices)], rows[len(call.choices) :]
            replies.append(chosen(call, own))
        return replies


def chosen(call: Call, logprobs: Sequence[Sequence[float]]) -> Reply:
    """The reply of a look with choices whose tokens have these log-probabilities: the best, or drawn by their sums."""
    scores = tuple(map(sum, logprobs))
    picked = [
        draw(torch.tensor(scores), call.sampling.temperature, dice_of(call, number))
        for number in range(call.sampling.n)
    ]
    return Reply(tuple(Sample(call.choices[one], tuple(logprobs[one])) for one in picked), scores)


def _heed_mask(module: object, inputs: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give cross-attention its mask: transformers 5.23 hands it over under a name that is not looked at.

    Without it the decoder hears the padding of shorter questions, and an answer depends on its batch.
    """
    return inputs, options | {"encoder_attention_mask": options.get("attention_mask")}


def _question(call: Call) -> str:
    return question_of(call) or CAPTION_QUESTION
