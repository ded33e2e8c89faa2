"""BLIP as answerer: questions about an image, or captions, with the probability of every answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from iterreason.calls import Call, Capabilities, Reply, Sample, Tokens, digest
from iterreason.images import decode
from iterreason.models import OnText
from iterreason.models.batching import Batcher, one_line
from iterreason.models.dice import Drawing, dice_of, draw

BATCH_CALLS = 32
BATCH_ROWS = 256  # samples that decode together
SEEN_BYTES = 128 * 2**20  # vision states kept; of blip-vqa-base about 70 images
CAPTION_QUESTION = "describe the image."  # what a model made for questions is asked for a caption


def open_blip(where: str | Path, family: str, device: str, name: str) -> BlipAnswerer:
    """Load BlipForQuestionAnswering or BlipForConditionalGeneration (`family`) in float32."""
    import transformers
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil  # needs no torchvision

    made: Any = getattr(transformers, family)
    model = made.from_pretrained(where, dtype=torch.float32, trust_remote_code=False).to(device).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    return BlipAnswerer(model, tokenizer, BlipImageProcessorPil.from_pretrained(where), name)


class BlipAnswerer:
    """Answers looks with BLIP in this process.

    model: BlipForQuestionAnswering or BlipForConditionalGeneration; the latter gives captions only.
    tokenizer, images: its tokenizer and its image processor. name: what results call it.

    A sample's log-probabilities are the model's own, before temperature, its end token included. With `choices` the
    answer is one of them, scored as whole answers by the sum of their tokens' log-probabilities; at a temperature it is
    drawn by these scores. With a seed, a sample depends on its own call alone.
    A call's seconds are its share of its batch's; its prompt is computed, and counted, once for all its samples.
    """

    def __init__(self, model: Any, tokenizer: Any, images: Any, name: str) -> None:
        self._model, self._tokenizer, self._images, self._name = model, tokenizer, images, name
        text = model.config.text_config
        self._begin, self._end, self._pad = text.bos_token_id, text.sep_token_id, text.pad_token_id
        self._longest = int(text.max_position_embeddings)
        self._asks = hasattr(model, "text_encoder")
        for part, module in model.named_modules():
            if part.endswith("crossattention.self"):
                module.register_forward_pre_hook(_heed_mask, with_kwargs=True)
        self._seen: OrderedDict[object, Tensor] = OrderedDict()
        self._batcher = Batcher(self._run, BATCH_CALLS, lambda call: (bool(call.choices), call.sampling.max_tokens))

    def capabilities(self) -> Capabilities:
        """Looks only; everything can be scored."""
        return Capabilities(self._name, chats=False, looks=True, logprobs=True, scores=True)

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one look, in a batch with those that wait; the text does not stream."""
        return await self._batcher.submit(call)

    async def close(self) -> None:
        """End the thread and drop the vision states."""
        await self._batcher.close()
        self._seen.clear()

    # All below runs on the batcher's thread.

    @torch.inference_mode()
    def _run(self, calls: Sequence[Call]) -> list[Reply]:
        began = perf_counter()
        fresh: dict[object, Tensor] = {}
        faults = [self._fault(call) or self._prepare(call, fresh) for call in calls]
        good = [call for call, fault in zip(calls, faults, strict=True) if not fault]
        answers = iter(self._answer(good, self._see(good, fresh)) if good else ())
        seconds = (perf_counter() - began) / len(calls)
        return [Reply(error=fault) if fault else replace(next(answers), seconds=seconds) for fault in faults]

    def _fault(self, call: Call) -> str:
        """Why this call cannot be answered; empty where it can."""
        if call.look is None:
            return f"{self._name} only looks at images; it answers no messages"
        if call.look.question is not None and not self._asks:
            return f"{self._name} gives captions only; name a model that answers questions"
        for text in (_question(call), *call.choices):
            tokens = len(self._tokenizer(text).input_ids)
            if tokens > self._longest:
                return f"context: {text[:40]!r}… has {tokens:,} tokens; {self._name} takes {self._longest:,}"
        return ""

    def _prepare(self, call: Call, fresh: dict[object, Tensor]) -> str:
        """Put the pixels of a view not seen before into `fresh`; returns what is wrong with it, or nothing."""
        key = _view(call)
        try:
            if key not in self._seen and key not in fresh:
                assert call.look is not None, "faults are sorted out before"
                fresh[key] = self._images(decode(call.look.view), return_tensors="pt").pixel_values[0]
        except Exception as error:  # an image that cannot be decoded is this call's fault alone
            return one_line(error)
        return ""

    def _see(self, calls: Sequence[Call], fresh: dict[object, Tensor]) -> Tensor:
        """The vision states (calls, patches, width); each view goes through the vision encoder once."""
        if fresh:
            pixels = torch.stack(list(fresh.values())).to(self._model.device)
            states = self._model.vision_model(pixel_values=pixels).last_hidden_state
            self._seen |= dict(zip(fresh, states, strict=True))
        found = [self._seen[_view(call)] for call in calls]
        for call in calls:
            self._seen.move_to_end(_view(call))
        while len(self._seen) * found[0].numel() * found[0].element_size() > SEEN_BYTES:
            self._seen.popitem(last=False)
        return torch.stack(found)

    def _answer(self, calls: Sequence[Call], seen: Tensor) -> list[Reply]:
        """Reply to calls of one kind: all with choices or none, all with the same `max_tokens`."""
        heard = torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device)
        lengths = [1] * len(calls)
        if self._asks:
            asked = self._tokenizer([_question(call) for call in calls], padding=True, return_tensors="pt")
            ids, mask = asked.input_ids.to(seen.device), asked.attention_mask.to(seen.device)
            encoded = self._model.text_encoder(
                input_ids=ids, attention_mask=mask, encoder_hidden_states=seen, encoder_attention_mask=heard
            )
            seen, heard, lengths = encoded.last_hidden_state, mask, mask.sum(1).tolist()
        make = self._rank if calls[0].choices else self._generate
        replies = make(calls, seen, heard)
        return [
            replace(reply, tokens=Tokens(length, completion=sum(len(s.logprobs or ()) for s in reply.samples)))
            for reply, length in zip(replies, lengths, strict=True)
        ]

    def _generate(self, calls: Sequence[Call], heard: Tensor, mask: Tensor) -> list[Reply]:
        """Token by token until the end, every sample of a call in a row of its own."""
        rows = [(place, number) for place, call in enumerate(calls) for number in range(call.sampling.n)]
        made: list[list[Sample]] = [[] for _ in calls]
        for start in range(0, len(rows), BATCH_ROWS):
            some = rows[start : start + BATCH_ROWS]
            places = torch.tensor([place for place, _ in some], device=heard.device)
            dice = [(calls[place].sampling.temperature, dice_of(calls[place], number)) for place, number in some]
            samples = self._decode(calls[0].sampling.max_tokens, dice, heard[places], mask[places])
            for (place, _), sample in zip(some, samples, strict=True):
                made[place].append(sample)
        return [Reply(tuple(samples)) for samples in made]

    def _decode(
        self, max_tokens: int, dice: list[tuple[float, torch.Generator | None]], heard: Tensor, mask: Tensor
    ) -> list[Sample]:
        """The most probable next token, or one drawn where there are dice, until the end."""
        made = self._model.text_decoder.generate(
            input_ids=torch.full((len(dice), 1), self._begin, device=heard.device),
            encoder_hidden_states=heard,
            encoder_attention_mask=mask,
            max_new_tokens=min(max_tokens, self._longest - 1),
            do_sample=False,
            num_beams=1,
            logits_processor=[Drawing(dice)],
            eos_token_id=self._end,
            pad_token_id=self._pad,
            return_dict_in_generate=True,
            output_logits=True,
        )
        logprobs = torch.stack(made.logits, dim=1).float().log_softmax(-1)
        chosen = made.sequences[:, 1:]
        scores = logprobs.gather(-1, chosen[..., None])[..., 0]
        return [self._sample(*row) for row in zip(chosen.tolist(), scores.tolist(), strict=True)]

    def _sample(self, tokens: list[int], logprobs: list[float]) -> Sample:
        ended = self._end in tokens
        length = tokens.index(self._end) + 1 if ended else len(tokens)
        text = self._tokenizer.decode(tokens[:length], skip_special_tokens=True).strip()
        return Sample(text, tuple(logprobs[:length]), "stop" if ended else "length")

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
            scores = tuple(map(sum, own))
            picked = [
                draw(torch.tensor(scores), call.sampling.temperature, dice_of(call, number))
                for number in range(call.sampling.n)
            ]
            replies.append(Reply(tuple(Sample(call.choices[one], tuple(own[one])) for one in picked), scores))
        return replies


def _heed_mask(module: object, inputs: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give cross-attention its mask: transformers 5.23 hands it over under a name that is not looked at.

    Without it the decoder hears the padding of shorter questions, and an answer depends on its batch.
    """
    return inputs, options | {"encoder_attention_mask": options.get("attention_mask")}


def _question(call: Call) -> str:
    return CAPTION_QUESTION if call.look is None or call.look.question is None else call.look.question


def _view(call: Call) -> str:
    return digest(call.look and call.look.view.identity)
