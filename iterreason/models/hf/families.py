"""Which checkpoint becomes what: found by its own config, its architecture or else its model type."""

from __future__ import annotations

from typing import Any, Literal

from iterreason.errors import UnknownModel

Role = Literal["reasoner", "answerer"]
Family = Literal["causal", "blip", "vilt", "blip-2", "vlm"]

ANSWERERS: dict[str, Family] = {
    "BlipForQuestionAnswering": "blip",
    "BlipForConditionalGeneration": "blip",
    "ViltForQuestionAnswering": "vilt",
    "Blip2ForConditionalGeneration": "blip-2",
    "InstructBlipForConditionalGeneration": "blip-2",
}
ROLES: dict[Family, tuple[Role, ...]] = {
    "causal": ("reasoner",),
    **dict.fromkeys(("blip", "vilt", "blip-2"), ("answerer",)),
    "vlm": ("reasoner", "answerer"),
}
_VLM = "image-text-to-text models with a chat template (SmolVLM, Qwen-VL, LLaVA and others)"
SUPPORTED: dict[Role, str] = {
    "reasoner": f"causal language models with a chat template; {_VLM}",
    "answerer": "BLIP for questions (BlipForQuestionAnswering) and for captions (BlipForConditionalGeneration), ViLT "
    f"for questions (ViltForQuestionAnswering), BLIP-2, InstructBLIP; {_VLM}",
}


def family_of(config: Any, role: Role, shown: str) -> tuple[str, Family]:
    """The architecture of a transformers config and what runs it here; raises UnknownModel where nothing does.

    shown: how the user named the checkpoint. A config that names no architecture goes by its model type.
    """
    architecture = _architecture(config)
    family = _families().get(architecture)
    if family is None or role not in ROLES[family]:
        other = f"; it can be the {ROLES[family][0]}" if family else ""
        raise UnknownModel(f"hf:{shown} is {architecture}, which cannot be the {role}{other}. Supported: "
                           f"{SUPPORTED[role]}")  # fmt: skip
    return architecture, family


def _architecture(config: Any) -> str:
    from transformers.models.auto import modeling_auto as auto

    if config.architectures:
        return str(config.architectures[0])
    by_type = (
        auto.MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    )
    for names in by_type:
        # BLIP is several models of one type; only the architecture tells which.
        if config.model_type in names and config.model_type != "blip":
            return str(names[config.model_type])
    return type(config).__name__


def _families() -> dict[str, Family]:
    from transformers.models.auto import modeling_auto as auto

    causal = dict.fromkeys(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(), "causal")
    sees = dict.fromkeys(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values(), "vlm")
    return {**causal, **sees, **ANSWERERS}  # type: ignore[dict-item]
