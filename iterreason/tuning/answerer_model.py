"""The architecture of the embedded answerer: a small BLIP-VQA model, its processor and its fresh weights."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipProcessor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from iterreason.tuning import phrasings
from iterreason.tuning.scenes import COLOURS, PATCHES, SHAPES, SIZES

IMAGE_SIZE = 96
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
SUFFIXES = ("##s", "##es", "##ed", "##ing", "##er", "##est", "##ly", "##n", "##t")
DENSE_CLASSES = (len(SHAPES) + 1, len(COLOURS) + 1, len(SIZES) + 1, 2)
# Text layers need a wide start: at the usual 0.02 the model stays at the language prior.
TEXT_INIT, VISION_INIT = 0.08, 0.05


def vocabulary() -> dict[str, int]:
    """Return the WordPiece vocabulary: special tokens, characters and pieces, then whole words of the domain."""
    texts: list[str] = [phrasings.EXTRA_WORDS, *phrasings.NOUNS, *phrasings.WHERE, *phrasings.NUMBER_WORDS]
    for name, value in sorted(vars(phrasings).items()):
        if name.isupper() and isinstance(value, tuple):
            texts += value
    texts += [word for words in (*phrasings.SIZE_WORDS.values(), *phrasings.RELATIONS.values()) for word in words]
    texts += [f"{shape} {shape}s" for shape in SHAPES] + list(COLOURS) + list(SIZES) + ["a an grey contain size sizes"]
    texts += ["shapes objects things colors colours positions top bottom left right center middle item figure"]
    words = re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", " ".join(texts)))
    signs = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    tokens = [*SPECIAL, *signs, *(f"##{c}" for c in string.ascii_lowercase + string.digits), *SUFFIXES, *sorted(words)]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def make_processor() -> BlipProcessor:
    """Return the processor: lower-casing WordPiece tokens and 96-pixel square images in CLIP's normalisation."""
    tokenizer = BertTokenizer(vocab=vocabulary(), do_lower_case=True, bos_token="[DEC]", model_max_length=64)
    images = BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return BlipProcessor(images, tokenizer)


def make_config(vocabulary_size: int, *, width: int = 192, vision_layers: int = 5, text_layers: int = 2) -> BlipConfig:
    """Return the BLIP configuration; the shipped model has the default widths and depths."""
    text = dict(
        vocab_size=vocabulary_size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=text_layers,
        num_attention_heads=6,
        max_position_embeddings=64,
        initializer_range=TEXT_INIT,
        bos_token_id=SPECIAL.index("[DEC]"),
        eos_token_id=SPECIAL.index("[SEP]"),
        sep_token_id=SPECIAL.index("[SEP]"),
        pad_token_id=SPECIAL.index("[PAD]"),
    )
    vision = dict(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=vision_layers,
        num_attention_heads=6,
        image_size=IMAGE_SIZE,
        patch_size=IMAGE_SIZE // PATCHES,
        initializer_range=VISION_INIT,
    )
    return BlipConfig(text_config=text, vision_config=vision)


@dataclass(frozen=True, slots=True)
class Texts:
    """Questions and answers as padded token ids.

    rows: which image of the batch each is about. heard_mask: what the decoder may attend to.
    grounds: (texts, 2, patches + 1), where the descriptions' shapes are; see `grounding`. All zero where unknown."""

    questions: torch.Tensor
    question_mask: torch.Tensor
    heard_mask: torch.Tensor
    answers: torch.Tensor
    answer_mask: torch.Tensor
    rows: torch.Tensor
    grounds: torch.Tensor


class Trainee(nn.Module):
    """The model in training: BLIP-VQA and the heads that read each patch's label off the vision encoder."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.blip = BlipForQuestionAnswering(config)
        self.heads = nn.Linear(config.vision_config.hidden_size, sum(DENSE_CLASSES))
        for part, spread in ((self.blip.vision_model, VISION_INIT), (self.blip.text_encoder, TEXT_INIT),
                             (self.blip.text_decoder, TEXT_INIT)):  # fmt: skip
            for module in part.modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                    nn.init.trunc_normal_(module.weight, std=spread)
        embeddings = self.blip.vision_model.embeddings
        nn.init.trunc_normal_(embeddings.position_embedding, std=VISION_INIT)
        nn.init.trunc_normal_(embeddings.class_embedding, std=VISION_INIT)

    def look(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the vision states (images, patches + 1, width) of normalised pixels (images, 3, 96, 96)."""
        states: torch.Tensor = self.blip.vision_model(pixel_values=pixels).last_hidden_state
        return states

    def dense_loss(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of the patch labels (images, patches, 4); rows of -100 have none."""
        scores = self.heads(states[:, 1:]).float().split(DENSE_CLASSES, dim=-1)
        losses = [
            nn.functional.cross_entropy(score.flatten(0, 1), labels[..., i].flatten(), ignore_index=-100)
            for i, score in enumerate(scores)
        ]
        return torch.stack(losses).sum()

    def answer_loss(self, states: torch.Tensor, texts: Texts) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean loss per answer token and that of the grounding, from states shared by the texts.

        Grounding: in the question encoder's last cross-attention, at the first token, head i is told to look at
        the shapes of description i.
        """
        states = states.index_select(0, texts.rows)
        encoded = self.blip.text_encoder(
            input_ids=texts.questions,
            attention_mask=texts.question_mask,
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long),
            output_attentions=True,
        )
        looked = encoded.cross_attentions[-1][:, :2, 0].float()
        told = texts.grounds.sum()
        ground = -(texts.grounds * (looked + 1e-6).log()).sum() / told.clamp(min=1)
        scores = self.blip.text_decoder(
            input_ids=texts.answers,
            attention_mask=texts.answer_mask,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=texts.heard_mask,
            use_cache=False,
        ).logits
        targets = texts.answers.masked_fill(texts.answer_mask == 0, -100)[:, 1:]
        rows = scores[:, :-1].float().flatten(0, 1)
        return nn.functional.cross_entropy(rows, targets.flatten(), ignore_index=-100), ground


def export(model: BlipForQuestionAnswering, folder: Path) -> None:
    """Write the model in float16 with its processor, loadable by transformers from this folder alone."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = BlipForQuestionAnswering(model.config)
    copy.load_state_dict(model.state_dict())
    copy.half().save_pretrained(folder)
    make_processor().save_pretrained(folder)
