"""The program that runs LAVIS: models/lavis.py starts it under LAVIS's own Python; it imports nothing of ours.

    python -E lavis_worker.py READ WRITE

READ and WRITE are the numbers of two inherited pipes; what LAVIS prints goes elsewhere. A message is a 16-byte head
(magic, length of the header, length of the body), a JSON object and raw bytes; nothing is ever pickled. Every request
gets one reply. `{"do": "hello"}`, `{"do": "load", …}`, then `{"do": "answer", …}` with RGB pixels as its body. A reply
may be `{"error": …, "kind": …}`. The program ends when the other side is gone.

It runs on every Python that LAVIS runs on (3.8 and newer).
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import sys
import urllib.request
from collections import OrderedDict
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

# Python puts this file's folder first, where `import lavis` would find the client.
sys.path[:] = [p for p in sys.path if os.path.realpath(p or ".") != os.path.dirname(os.path.realpath(__file__))]

HEAD = struct.Struct(">4sIQ")
MAGIC = b"ITR1"
SEEN_BYTES = 128 * 2**20  # vision states kept; of BLIP base at 480 pixels about 48 images
ROWS = 256  # samples or choices that are decoded together
REACH_SECONDS = 10.0
STRIPE = 2**20  # bytes hashed of each tensor: two trainings differ in all of them
EVA = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth"
HUB_FILES = ["*.json", "*.txt", "*.model"]


class Refused(Exception):
    """What cannot be done, and why; `kind` is `unknown`, `missing` or `failed`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


# ------------------------------------------------------------------ messages


def main(read: int, write: int) -> None:
    """Answer requests until there is nobody to answer to."""
    incoming, outgoing = os.fdopen(read, "rb"), os.fdopen(write, "wb")
    requests: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()
    Thread(target=_listen, args=(incoming, requests), daemon=True).start()
    worker = Worker()
    while True:
        header, body = requests.get()
        text = json.dumps(_handled(worker, header, body)).encode()
        outgoing.write(HEAD.pack(MAGIC, len(text), 0) + text)
        outgoing.flush()


def _listen(incoming: BinaryIO, requests: Any) -> None:
    # In a thread of its own, so that a computation which goes on for ever ends with whoever wanted it.
    while len(head := incoming.read(HEAD.size)) == HEAD.size:
        _, header, body = HEAD.unpack(head)
        requests.put((json.loads(incoming.read(header)), incoming.read(body)))
    os._exit(0)


def _handled(worker: Worker, header: dict[str, Any], body: bytes) -> dict[str, Any]:
    try:
        reply: dict[str, Any] = getattr(worker, "do_" + header.pop("do"))(body=body, **header)
        json.dumps(reply, allow_nan=False)
        return reply
    except Refused as error:
        return {"error": " ".join(str(error).split()), "kind": error.kind}
    except BaseException as error:  # LAVIS and what it stands on may raise anything
        return {"error": "{}: {}".format(type(error).__name__, " ".join(str(error).split())[:300]), "kind": "failed"}


class Worker:
    """One model, and the vision states of the views that it saw last."""

    def __init__(self) -> None:
        self.model: Any = None
        self.images: Any = None
        self.questions: Any = None
        self.caption = ""
        self.seen: OrderedDict[str, Any] = OrderedDict()

    def do_hello(self, body: bytes) -> dict[str, Any]:
        """Say which LAVIS this is; what it lacks is an error."""
        try:
            from importlib.metadata import version

            import lavis.models  # noqa: F401
            import torch
            import transformers

            found = version("salesforce-lavis")
        except Exception as error:  # an ImportError mostly, but a mismatch of packages may raise anything
            reason = f"LAVIS cannot be imported by {sys.executable}: {type(error).__name__}: {error}"
            raise Refused("missing", reason) from error
        return {"lavis": found, "torch": torch.__version__, "transformers": transformers.__version__}

    def do_load(self, body: bytes, name: str, kind: str, file: str, offline: bool, caption: str) -> dict[str, Any]:
        """Load a type of a LAVIS model, or what a local `file` in the format of LAVIS's own describes.

        caption: what a model made for questions alone is asked for a caption.
        """
        import torch

        made, preprocess, name = load(name, kind, file, offline)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        made = (made if device == "cuda" else made.float()).to(device).eval()
        self.model, self.caption = FAMILIES[name](made), caption
        self.images, self.questions = processors(preprocess)
        config = json.dumps([name, preprocess], sort_keys=True)
        told = {"asks": self.model.asks, "batch": self.model.batch if device == "cuda" else self.model.batch_on_cpu}
        return dict(told, weights=fingerprint(made, config), device=device)

    def do_answer(self, body: bytes, views: list[Any], calls: list[Any], max_tokens: int) -> dict[str, Any]:
        """Answer calls of one kind: all with choices, or none."""
        import torch

        try:
            with torch.inference_mode():
                self._see(views, body)
                faults = [self._fault(call) for call in calls]
                good = [call for call, fault in zip(calls, faults) if not fault]
                replies = iter(self._answers(good, max_tokens) if good else [])
                told = [{"error": fault} if fault else next(replies) for fault in faults]
        finally:
            self._forget()
        return {"replies": told, "held": list(self.seen)}

    def _forget(self) -> None:
        """Drop the vision states that were of use longest ago."""
        size = sum(states.numel() * states.element_size() for states in self.seen.values())
        while size > SEEN_BYTES:
            _, gone = self.seen.popitem(last=False)
            size -= gone.numel() * gone.element_size()

    def _see(self, views: list[Any], body: bytes) -> None:
        """The vision encoder, once for each new view (key, width, height)."""
        import torch
        from PIL import Image

        pixels, start = [], 0
        for _, width, height in views:
            picture = Image.frombytes("RGB", (width, height), body[start : start + 3 * width * height])
            start += 3 * width * height
            pixels.append(self.images(picture))
        if pixels:
            states = self.model.see(torch.stack(pixels).to(self.model.device))
            self.seen.update(zip([key for key, _, _ in views], states))

    def _fault(self, call: dict[str, Any]) -> str:
        """Why this call cannot be answered as it is; empty where it can. Nothing is cut in silence."""
        words = (call["question"] or "").split()
        most_words = getattr(self.questions, "max_words", len(words))
        if len(words) > most_words:
            return f"context: {call['question'][:40]!r}… has {len(words):,} words; it takes {most_words:,}"
        prompt = (self._prompt(call), self.model.longest_question)
        for text, longest in [prompt, *((choice, self.model.longest) for choice in call["choices"])]:
            tokens = self.model.count(text)
            if tokens > longest:
                return f"context: {text[:40]!r}… has {tokens:,} tokens; it takes {longest:,}"
        return ""

    def _prompt(self, call: dict[str, Any]) -> str:
        """What the model reads before it answers."""
        if call["question"] is None:
            return self.model.caption_prompt or self.caption
        return str(self.model.prompt(self.questions(call["question"])))

    def _answers(self, calls: list[Any], max_tokens: int) -> list[dict[str, Any]]:
        import torch

        for call in calls:
            self.seen.move_to_end(call["view"])
        seen = torch.stack([self.seen[call["view"]] for call in calls])
        heard, lengths = self.model.hear(seen, [self._prompt(call) for call in calls])
        replies = self._ranked(calls, heard) if calls[0]["choices"] else self._generated(calls, heard, max_tokens)
        return [dict(reply, prompt_tokens=length) for reply, length in zip(replies, lengths)]

    def _generated(self, calls: list[Any], heard: dict[str, Any], max_tokens: int) -> list[dict[str, Any]]:
        """Token by token until the end, every sample in a row of its own."""
        rows = [(place, seed) for place, call in enumerate(calls) for seed in call["seeds"]]
        samples: list[list[Any]] = [[] for _ in calls]
        for some in (rows[start : start + ROWS] for start in range(0, len(rows), ROWS)):
            dice = [dice_of(calls[place]["temperature"], seed) for place, seed in some]
            context = {key: value[[place for place, _ in some]] for key, value in heard.items()}
            for (place, _), sample in zip(some, decode(self.model, context, max_tokens, dice)):
                samples[place].append(sample)
        return [{"samples": some} for some in samples]

    def _ranked(self, calls: list[Any], heard: dict[str, Any]) -> list[dict[str, Any]]:
        """The log-probabilities of every choice's tokens, by teacher forcing, and which of them are picked."""
        rows = [(place, choice) for place, call in enumerate(calls) for choice in call["choices"]]
        scores: list[list[list[float]]] = [[] for _ in calls]
        for some in (rows[start : start + ROWS] for start in range(0, len(rows), ROWS)):
            context = {key: value[[place for place, _ in some]] for key, value in heard.items()}
            for (place, _), row in zip(some, force(self.model, context, [choice for _, choice in some])):
                scores[place].append(row)
        return [
            {
                "choices": own,
                "picked": [pick([sum(row) for row in own], dice_of(call["temperature"], s)) for s in call["seeds"]],
            }
            for call, own in zip(calls, scores)
        ]


# ------------------------------------------------------------------ decoding


def decode(model: Any, context: dict[str, Any], max_tokens: int, dice: list[Any]) -> list[dict[str, Any]]:
    """The likeliest next token, or one drawn where there are dice; with the model's own log-probabilities."""
    import torch

    tokens, past = context["begin"], None
    ended = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    chosen, logprobs = [], []
    for _ in range(min(max_tokens, model.longest - tokens.shape[1])):
        logits, past = model.step(context, tokens, past)
        known = logits[:, -1].float().log_softmax(-1)
        moved = known.clone()
        for place, (temperature, generator) in enumerate(dice):
            if generator is not None:  # the Gumbel-max trick
                noise = torch.empty(moved.shape[1]).exponential_(generator=generator).log().to(moved.device)
                moved[place] = moved[place] / temperature - noise
        tokens = moved.argmax(-1, keepdim=True)
        chosen.append(tokens[:, 0])
        logprobs.append(known.gather(-1, tokens)[:, 0])
        ended |= tokens[:, 0] == model.end
        if ended.all():
            break
    rows = zip(torch.stack(chosen, 1).tolist(), torch.stack(logprobs, 1).tolist())
    return [sample(model, row, values) for row, values in rows]


def sample(model: Any, tokens: list[int], logprobs: list[float]) -> dict[str, Any]:
    """One text up to its end token, which counts."""
    ended = model.end in tokens
    length = tokens.index(model.end) + 1 if ended else len(tokens)
    text = model.tokenizer.decode(tokens[:length], skip_special_tokens=True).strip()
    return {"text": text, "logprobs": logprobs[:length], "finish": "stop" if ended else "length"}


def force(model: Any, context: dict[str, Any], texts: list[str]) -> list[list[float]]:
    """The log-probability of each token of each text, its end included."""
    import torch

    ids = [model.answer(text) for text in texts]
    longest = max(map(len, ids))
    padded = torch.tensor([row + [model.pad] * (longest - len(row)) for row in ids], device=model.device)
    begin = context["begin"]
    logits, _ = model.step(context, torch.cat([begin, padded], 1)[:, :-1], None)
    known = logits[:, begin.shape[1] - 1 :].float().log_softmax(-1).gather(-1, padded[..., None])[..., 0]
    return [row[: len(own)] for row, own in zip(known.tolist(), ids)]


def dice_of(temperature: float, seed: int | None) -> tuple[float, Any]:
    """A temperature and random numbers; none where the sample is greedy."""
    import torch

    generator = torch.Generator() if temperature > 0 else None
    if generator is not None:
        generator.seed() if seed is None else generator.manual_seed(seed)
    return temperature, generator


def pick(scores: list[float], dice: tuple[float, Any]) -> int:
    """The place of the highest score, or of one drawn."""
    import torch

    temperature, generator = dice
    if generator is None:
        return int(torch.tensor(scores).argmax())
    return int(torch.multinomial((torch.tensor(scores) / temperature).softmax(-1), 1, generator=generator))


# ------------------------------------------------------------------ families of models


class Blip:
    """What BLIP's models for questions and for captions share."""

    asks = False
    caption_prompt = ""
    batch = batch_on_cpu = 32

    def __init__(self, model: Any) -> None:
        self.model, self.tokenizer, self.device = model, model.tokenizer, model.device
        self.end, self.pad = self.tokenizer.sep_token_id, self.tokenizer.pad_token_id
        self.longest = self.longest_question = int(model.text_decoder.config.max_position_embeddings)

    def prompt(self, question: str) -> str:
        """What is read before the answer."""
        return question

    def count(self, text: str) -> int:
        """Tokens of a text with its beginning and end."""
        return len(self.tokenizer(text).input_ids)

    def answer(self, text: str) -> list[int]:
        """Tokens of an answer and its end."""
        ids: list[int] = self.tokenizer(text).input_ids
        return ids[1:]

    def see(self, pixels: Any) -> Any:
        """Vision states (images, patches, width)."""
        return self.model.visual_encoder.forward_features(pixels)

    def step(self, context: dict[str, Any], tokens: Any, past: Any) -> tuple[Any, Any]:
        """Logits (rows, tokens, vocabulary) after these tokens, and the states to go on from."""
        given = {key: context[key] for key in ("encoder_hidden_states", "encoder_attention_mask")}
        out = self.model.text_decoder(tokens, past_key_values=past, use_cache=True, return_dict=True, **given)
        return out.logits, out.past_key_values


class BlipVqa(Blip):
    """`blip_vqa`: the question is encoded with the image, the answer is decoded from that."""

    asks = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.longest_question = min(self.longest, int(model.max_txt_len))

    def hear(self, seen: Any, prompts: list[str]) -> tuple[dict[str, Any], list[int]]:
        """Encode the questions; LAVIS's own `generate` listens to their padding too, its ranking and we do not."""
        import torch

        asked = self.tokenizer(prompts, padding="longest", return_tensors="pt").to(self.device)
        asked.input_ids[:, 0] = self.tokenizer.enc_token_id
        states = self.model.text_encoder.forward_automask(tokenized_text=asked, visual_embeds=seen).last_hidden_state
        begin = torch.full((len(prompts), 1), self.tokenizer.bos_token_id, device=self.device)
        mask = asked.attention_mask
        return dict(begin=begin, encoder_hidden_states=states, encoder_attention_mask=mask), mask.sum(1).tolist()


class BlipCaption(Blip):
    """`blip_caption`: goes on from its prompt, mostly 'a picture of', which is no part of the caption."""

    def hear(self, seen: Any, prompts: list[str]) -> tuple[dict[str, Any], list[int]]:
        """The vision states are all that there is."""
        import torch

        begin = [self.tokenizer.bos_token_id, *self.tokenizer(self.model.prompt or "").input_ids[1:-1]]
        mask = torch.ones(seen.shape[:2], dtype=torch.long, device=self.device)
        rows = torch.tensor([begin] * len(prompts), device=self.device)
        lengths = [len(begin)] * len(prompts)
        return dict(begin=rows, encoder_hidden_states=seen, encoder_attention_mask=mask), lengths


class Blip2:
    """What BLIP-2's models share: a Q-Former between the vision encoder and a language model."""

    asks = True
    batch, batch_on_cpu = 16, 2  # billions of parameters: no batch may take so long that it looks like a hang
    projection = ""
    question = "Question: {} Short answer:"

    def __init__(self, model: Any, tokenizer: Any, longest: int) -> None:
        self.model, self.tokenizer, self.device = model, tokenizer, model.device
        self.pad, self.caption_prompt = tokenizer.pad_token_id, model.prompt or "a photo of"
        self.longest = self.longest_question = longest

    def prompt(self, question: str) -> str:
        """The form that BLIP-2 is asked in."""
        return self.question.format(question)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer(text).input_ids)

    def see(self, pixels: Any) -> Any:
        """What the Q-Former makes of the images, in the language model's width."""
        import torch

        with self.model.maybe_autocast():
            states = self.model.ln_vision(self.model.visual_encoder(pixels)).float()
        mask = torch.ones(states.shape[:2], dtype=torch.long, device=self.device)
        queries = self.model.query_tokens.expand(len(states), -1, -1)
        out = self.model.Qformer.bert(
            query_embeds=queries, encoder_hidden_states=states, encoder_attention_mask=mask, return_dict=True
        )
        return getattr(self.model, self.projection)(out.last_hidden_state)

    def read(self, seen: Any, ids: Any, mask: Any, embed: Any) -> tuple[Any, Any]:
        """The image's states and the prompt's, one after the other, with their mask."""
        import torch

        ones = torch.ones(seen.shape[:2], dtype=mask.dtype, device=self.device)
        words = embed(ids)
        return torch.cat([seen.to(words.dtype), words], 1), torch.cat([ones, mask], 1)


class Blip2T5(Blip2):
    """`blip2_t5`: the encoder reads image and prompt, the decoder answers."""

    projection = "t5_proj"

    def __init__(self, model: Any) -> None:
        super().__init__(model, model.t5_tokenizer, longest=512)
        self.end = model.t5_model.config.eos_token_id

    def answer(self, text: str) -> list[int]:
        """Tokens of an answer and its end."""
        ids: list[int] = self.tokenizer(text).input_ids
        return ids

    def hear(self, seen: Any, prompts: list[str]) -> tuple[dict[str, Any], list[int]]:
        """Encode image and prompt."""
        import torch

        t5 = self.model.t5_model
        asked = self.tokenizer(prompts, padding="longest", return_tensors="pt").to(self.device)
        states, mask = self.read(seen, asked.input_ids, asked.attention_mask, t5.encoder.embed_tokens)
        with self.model.maybe_autocast(dtype=torch.bfloat16):
            encoded = t5.encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state
        begin = torch.full((len(prompts), 1), t5.config.decoder_start_token_id, device=self.device)
        return dict(begin=begin, states=encoded, mask=mask), mask.sum(1).tolist()

    def step(self, context: dict[str, Any], tokens: Any, past: Any) -> tuple[Any, Any]:
        """Logits (rows, tokens, vocabulary) after these tokens, and the states to go on from."""
        import torch

        with self.model.maybe_autocast(dtype=torch.bfloat16):
            out = self.model.t5_model(
                encoder_outputs=(context["states"],), attention_mask=context["mask"], decoder_input_ids=tokens,
                past_key_values=past, use_cache=True, return_dict=True,
            )  # fmt: skip
        return out.logits, out.past_key_values


class Blip2Opt(Blip2):
    """`blip2_opt`: the language model goes on from image and prompt; an answer ends with its line."""

    projection = "opt_proj"
    question = "Question: {} Answer:"

    def __init__(self, model: Any) -> None:
        room = int(model.opt_model.config.max_position_embeddings) - model.query_tokens.shape[1]
        super().__init__(model, model.opt_tokenizer, longest=room // 2)  # question and answer share the room
        self.end = model.eos_token_id
        self.tokenizer.padding_side = "left"

    def answer(self, text: str) -> list[int]:
        """Tokens of an answer, which follows a space, and its end."""
        return [*self.tokenizer(" " + text, add_special_tokens=False).input_ids, self.end]

    def hear(self, seen: Any, prompts: list[str]) -> tuple[dict[str, Any], list[int]]:
        """All but the prompt's last token, which the first step reads."""
        asked = self.tokenizer(prompts, padding="longest", return_tensors="pt").to(self.device)
        embed = self.model.opt_model.model.decoder.embed_tokens
        states, mask = self.read(seen, asked.input_ids[:, :-1], asked.attention_mask[:, :-1], embed)
        lengths = [length + 1 for length in mask.sum(1).tolist()]
        return dict(begin=asked.input_ids[:, -1:], states=states, mask=mask), lengths

    def step(self, context: dict[str, Any], tokens: Any, past: Any) -> tuple[Any, Any]:
        """Logits (rows, tokens, vocabulary) after these tokens, and the states to go on from."""
        import torch

        opt, mask = self.model.opt_model, context["mask"]
        states = opt.model.decoder.embed_tokens(tokens)
        before = past[0][0].shape[2] if past else mask.shape[1]
        mask = torch.cat([mask, mask.new_ones(len(mask), before - mask.shape[1] + tokens.shape[1])], 1)
        states = states if past else torch.cat([context["states"], states], 1)
        with self.model.maybe_autocast():
            out = opt(
                inputs_embeds=states, attention_mask=mask, past_key_values=past, use_cache=True, return_dict=True
            )  # fmt: skip
        return out.logits[:, -tokens.shape[1] :], out.past_key_values


FAMILIES: dict[str, Any] = {
    "blip_vqa": BlipVqa, "blip_caption": BlipCaption, "blip2_opt": Blip2Opt, "blip2_t5": Blip2T5,
}  # fmt: skip


# ------------------------------------------------------------------ loading


def load(name: str, kind: str, file: str, offline: bool) -> tuple[Any, Any, str]:
    """The model, the description of its processors, and its name."""
    from lavis.common.registry import registry
    from omegaconf import OmegaConf

    if file:
        os.chdir(os.path.dirname(file))  # relative paths in it, and folders named like hub models, are found there
        config = OmegaConf.load(file)
        if "model" not in config or not config.model.get("arch"):
            raise Refused("failed", f"{file} has no `model:` with an `arch:`; see LAVIS's configs/models/*.yaml")
        name = config.model.arch
    if name not in FAMILIES:
        raise Refused("unknown", f"unknown LAVIS model '{name}'. Known: {', '.join(FAMILIES)}.")
    model_class = registry.get_model_class(name)
    types = model_class.PRETRAINED_MODEL_CONFIG_DICT
    if not file:
        if kind not in types:
            raise Refused("unknown", f"unknown type '{kind}' of LAVIS model '{name}'. Known: {', '.join(types)}.")
        config = OmegaConf.load(model_class.default_config_path(kind))
    fetch(config.model, name, offline)
    made = built(model_class, config.model)
    return made, OmegaConf.to_container(config.get("preprocess") or OmegaConf.create()), name


def built(model_class: Any, config: Any) -> Any:
    """The model with all its trained weights; LAVIS itself would pass over those that a checkpoint lacks."""
    lacking: list[str] = []

    def checked(method: str) -> Any:
        def loading(self: Any, *arguments: Any, **options: Any) -> Any:
            told = getattr(super(checking, self), method)(*arguments, **options)
            # What is frozen came from elsewhere, but for a vision encoder of one's own.
            own = "visual_encoder." if config.get("vit") else ()
            wanted = {key for key, value in self.named_parameters() if value.requires_grad or key.startswith(own)}
            lacking[:] = [key for key in told.missing_keys if key in wanted]
            return told

        return loading

    methods = {method: checked(method) for method in ("load_checkpoint", "load_from_pretrained")}
    checking: Any = type(model_class.__name__, (model_class,), methods)
    if config.get("med_config_path") and os.path.isfile(config.med_config_path):
        config.med_config_path = os.path.abspath(config.med_config_path)
    if config.get("vit"):
        own_vision(config)
    made = checking.from_config(config)
    if lacking:
        raise Refused("failed", f"the checkpoint lacks {len(lacking):,} of the model's weights: {lacking[0]}, …")
    return made


def own_vision(config: Any) -> None:
    """Have the sizes under `vit:` built; LAVIS's files know only its own two or three vision encoders."""
    from lavis.models import eva_vit, vit
    from lavis.models.blip2_models import blip2
    from torch import nn

    sizes = dict(config.vit)
    eps = sizes.pop("layer_norm_eps", 1e-6)

    def norm(width: int) -> Any:
        return nn.LayerNorm(width, eps=eps)

    options = dict(sizes, img_size=config.image_size, norm_layer=norm)
    vit.VisionTransformerEncoder.from_config = lambda *_, **__: vit.VisionTransformerEncoder(**options)

    def init_vision_encoder(*_: Any) -> Any:
        made = eva_vit.VisionTransformer(use_mean_pooling=False, qkv_bias=True, **options)
        return made, blip2.LayerNorm(made.num_features)

    blip2.Blip2Base.init_vision_encoder = staticmethod(init_vision_encoder)


def processors(preprocess: Any) -> tuple[Any, Any]:
    """What is done to images and to questions."""
    from lavis.models import load_preprocess
    from lavis.processors.blip_processors import BlipCaptionProcessor
    from omegaconf import OmegaConf

    if not (preprocess.get("vis_processor") or {}).get("eval"):
        raise Refused("failed", "`preprocess:` names no `vis_processor: eval:`; see LAVIS's configs/models/*.yaml")
    images, questions = load_preprocess(OmegaConf.create(preprocess))
    asked = questions["eval"]
    if isinstance(asked, BlipCaptionProcessor):
        asked.prompt = ""  # BLIP-2's questions go through it too; the prompt is ours to put
    return images["eval"], asked


def fetch(config: Any, name: str, offline: bool) -> None:
    """See that all files are here; those of the hub are fetched, checkpoints are left for LAVIS to fetch."""
    from huggingface_hub import snapshot_download
    from lavis.common.utils import is_url
    from timm.models import hub as timm_hub

    socket.setdefaulttimeout(3 * REACH_SECONDS)  # of a download that stalls
    checkpoint = config.get("finetuned") if config.get("load_finetuned", True) else config.get("pretrained")
    if not checkpoint:
        raise Refused("failed", "the model's file names no checkpoint (`finetuned:`, or `pretrained:`)")
    if not is_url(checkpoint) and not os.path.isfile(checkpoint):
        raise Refused("failed", f"there is no checkpoint {os.path.abspath(checkpoint)}")
    vision = [EVA] if name.startswith("blip2") and not config.get("vit") else []
    urls = [url for url in [checkpoint, *vision] if is_url(url)]
    urls = [u for u in urls if not os.path.isfile(os.path.join(timm_hub.get_cache_dir(), os.path.basename(u)))]
    whole = [config[key] for key in [{"blip2_opt": "opt_model", "blip2_t5": "t5_model"}.get(name)] if key]
    weights = ["*.bin", "*.bin.index.json"] if whole else []
    wanted = [(hub, [*HUB_FILES, *weights]) for hub in ["bert-base-uncased", *whole] if not os.path.isdir(hub)]
    hubs = []
    for hub, files in wanted:
        try:
            snapshot_download(hub, allow_patterns=files, local_files_only=True)
        except Exception:  # not here, in the words of whichever version
            hubs.append((hub, files))
    lacking = [*urls, *(hub for hub, _ in hubs)]
    if lacking and offline:
        raise Refused("failed", f"not in the local cache, and HF_HUB_OFFLINE is set: {', '.join(lacking)}")
    for host in {*(["https://huggingface.co/"] if hubs else []), *urls}:
        reach(host, lacking)
    for hub, files in hubs:
        snapshot_download(hub, allow_patterns=files, etag_timeout=REACH_SECONDS)


def reach(url: str, lacking: list[str]) -> None:
    """Refuse where this address does not answer soon; a name server that hangs heeds no time-out."""
    told: list[str] = ["no answer"]

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REACH_SECONDS).close()
            told.clear()
        except Exception as error:
            told[:] = [str(error)]

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(1.5 * REACH_SECONDS)
    if told:
        raise Refused("failed", f"not here, and {url} cannot be reached ({told[0]}): {', '.join(lacking)}")


def fingerprint(model: Any, config: str) -> str:
    """Twelve hexadecimal digits that tell weights, vocabularies and preparation of images apart."""
    digest = hashlib.sha256(config.encode())
    for key, value in model.state_dict().items():
        flat = value.detach().cpu().float().flatten()[: STRIPE // 4].contiguous()
        digest.update(f"{key} {list(value.shape)}".encode() + flat.numpy().tobytes())
    digest.update(json.dumps(model.tokenizer.get_vocab(), sort_keys=True).encode())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
