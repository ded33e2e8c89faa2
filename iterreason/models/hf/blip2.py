"""BLIP-2 and InstructBLIP as answerer: a few vectors stand for the image before the words of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from iterreason.calls import Call, Reply, Sample, Tokens
from iterreason.models.hf.blip import chosen
from iterreason.models.hf.continuing import rank, spellings
from iterreason.models.hf.decoding import Dice, decode, in_parts, only_greedy, rows_of
from iterreason.models.hf.looker import Looker, question_of

BATCH_ROWS = 32
# As each was trained: Li et al., 2023 (arXiv 2301.12597); Dai et al., 2023 (arXiv 2305.06500).
QUESTION = {"blip-2": "Question: {} Answer:", "instructblip": "{} Short answer:"}
CHOICES = {"blip-2": "Question: {} Options: {}. Answer:", "instructblip": "{} Options: {}. Short answer:"}
CAPTION = {"blip-2": "a photo of", "instructblip": "A short image description:"}


def open_blip2(model: Any, where: str, name: str) -> Blip2Answerer:
    """Make an answerer of a loaded Blip2- or InstructBlipForConditionalGeneration."""
    import transformers
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil  # needs no torchvision

    safe: dict[str, Any] = {"trust_remote_code": False}
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, **safe)
    guide: Any = None
    if model.config.model_type == "instructblip":
        guide = transformers.AutoTokenizer.from_pretrained(where, subfolder="qformer_tokenizer", **safe)
    return Blip2Answerer(model, (tokenizer, guide), BlipImageProcessorPil.from_pretrained(where), name)


class Blip2Answerer(Looker):
    """Answers looks with BLIP-2 or InstructBLIP in this process, over a decoder (OPT, Vicuna) or T5.

    tokenizers: the language model's, and that of the Q-Former where it reads the question (InstructBLIP), else None.

    A sample's log-probabilities are the language model's own. A choice's score is the log-probability of its text and
    the end together, with or without a blank or a capital before it.
    """

    def __init__(self, model: Any, tokenizers: tuple[Any, Any], images: Any, name: str) -> None:
        super().__init__(model, images, name)
        self._tokenizer, self._guide = tokenizers
        self._kind = model.config.model_type
        self._language = model.language_model
        self._writes_apart = bool(self._language.config.is_encoder_decoder)
        only_greedy(self._language)
        self._longest = int(getattr(self._language.config, "max_position_embeddings", 0) or 512)
        self._image_tokens = model.query_tokens.shape[1]
        ends = self._language.config.eos_token_id
        self._ends = [*dict.fromkeys([self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])])]

    # All below runs on the batcher's thread.

    def _fault(self, call: Call) -> str:
        text = self._text(call)
        answer = call.sampling.max_tokens
        if call.choices:
            answer = max(len(ids) for choice in call.choices for ids in spellings(self._tokenizer, choice))
        tokens = self._image_tokens + len(self._tokenizer(text).input_ids) + (0 if self._writes_apart else answer)
        fits = [(tokens, self._longest)]
        if self._guide:
            read = len(self._guide(text, verbose=False).input_ids)
            fits.append((read, self._model.config.qformer_config.max_position_embeddings))
        for needed, room in fits:
            if needed > room:
                return f"context: {text[:40]!r}… and its answer have {needed:,} tokens; {self._name} takes {room:,}"
        return ""

    def _text(self, call: Call) -> str:
        question = question_of(call)
        if question is None:
            return CAPTION[self._kind]
        if call.choices:
            return CHOICES[self._kind].format(question, ", ".join(call.choices))
        return QUESTION[self._kind].format(question)

    def _answer(self, calls: Sequence[Call], seen: Sequence[Tensor]) -> list[Reply]:
        texts = [self._text(call) for call in calls]
        heard = self._heard(texts, torch.stack(list(seen)))
        lengths = [self._image_tokens + len(self._tokenizer(text).input_ids) for text in texts]
        if calls[0].choices:
            prompts = [self._prompt([text], heard[n : n + 1]) for n, text in enumerate(texts)]
            replies = [self._rank(*pair) for pair in zip(calls, prompts, strict=True)]
        else:
            replies = self._generate(calls, self._prompt(texts, heard))
        return [
            replace(reply, tokens=Tokens(length, completion=sum(len(s.logprobs or ()) for s in reply.samples)))
            for reply, length in zip(replies, lengths, strict=True)
        ]

    def _heard(self, texts: Sequence[str], states: Tensor) -> Tensor:
        """What the Q-Former makes of each image (rows, image tokens, width), as the language model takes it."""
        model, rows = self._model, len(states)
        options: dict[str, Tensor] = {}
        if self._guide:
            guide = self._guide(list(texts), padding=True, return_tensors="pt").to(states.device)
            ones = torch.ones(rows, self._image_tokens, dtype=torch.long, device=states.device)
            options = {"input_ids": guide.input_ids, "attention_mask": torch.cat([ones, guide.attention_mask], dim=1)}
        made = model.qformer(
            query_embeds=model.query_tokens.expand(rows, -1, -1),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long, device=states.device),
            **options,
        ).last_hidden_state[:, : self._image_tokens]
        projected: Tensor = model.language_projection(made.to(model.language_projection.weight.dtype))
        return projected

    def _prompt(self, texts: Sequence[str], heard: Tensor) -> dict[str, Tensor]:
        """The language model's input: for each row its image, then its words; shorter rows padded at the left."""
        embed = self._language.get_input_embeddings()
        device = embed.weight.device
        rows = []
        for text, image in zip(texts, heard, strict=True):
            words = embed(self._tokenizer(text, return_tensors="pt").input_ids[0].to(device))
            rows.append(torch.cat([image.to(device, words.dtype), words]))
        longest = max(map(len, rows))
        embeds = torch.stack([torch.cat([row.new_zeros(longest - len(row), row.shape[1]), row]) for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        return {"inputs_embeds": embeds, "attention_mask": mask}

    def _generate(self, calls: Sequence[Call], prompt: dict[str, Tensor]) -> list[Reply]:
        def write(rows: Sequence[tuple[int, Dice]]) -> list[Any]:
            places = torch.tensor([place for place, _ in rows], device=prompt["inputs_embeds"].device)
            inputs = {name: values[places] for name, values in prompt.items()}
            most = calls[0].sampling.max_tokens
            return decode(self._language, inputs, [dice for _, dice in rows], most, self._ends)

        rows = rows_of(calls)
        made: list[list[Sample]] = [[] for _ in calls]
        for (place, _), written in zip(rows, in_parts(rows, BATCH_ROWS, write), strict=True):
            made[place].append(written.sample(self._tokenizer))
        return [Reply(tuple(samples)) for samples in made]

    def _rank(self, call: Call, prompt: dict[str, Tensor]) -> Reply:
        return chosen(
            call, [(score,) for score in rank(self._language, self._tokenizer, prompt, call.choices, self._ends)]
        )
