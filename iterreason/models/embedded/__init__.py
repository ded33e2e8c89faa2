"""The small models that come with the package: no network, no server."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files

from iterreason.calls import Call, Capabilities, Reply
from iterreason.errors import ModelFailed
from iterreason.models import Model, OnText
from iterreason.models.hf import load, require_local


def reasoner() -> Model:
    """SmolLM2-135M-Instruct with the adapter beside this file, tuned on episodes of the policy `evidence`.

    The first call on a machine converts it (about a minute).
    Raises MissingExtra where packages or weights are not installed.
    """
    from iterreason.models.smollm import checkpoint

    require_local()
    with as_file(files(__name__) / "reasoner") as adapter:
        return _Unscored(load(str(checkpoint(adapter)), "reasoner", name="embedded/smollm2-135m-tuned"))


class _Unscored:
    """The reasoner without a claim to score choices: among more than two its letters are no better than chance."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """As the model does; a read-out that is asked for all the same has its scores."""
        return await self._model.complete(call, on_text)

    def capabilities(self) -> Capabilities:
        """The model's, but for scores."""
        return replace(self._model.capabilities(), scores=False)

    async def close(self) -> None:
        """End the model."""
        await self._model.close()


def answerer(*, doubts_words: bool = True) -> Model:
    """The BLIP model trained on drawn scenes that lies beside this file; it warns of images that look otherwise.

    doubts_words: whether an answer to a question in words that it was never taught counts as a guess more often.
    Raises MissingExtra where packages are not installed.
    """
    require_local()
    with as_file(files(__name__) / "answerer") as folder:
        if not (folder / "config.json").is_file():
            raise ModelFailed("this installation lacks the embedded answerer's weights; run: make train-answerer")
        opened = load(str(folder), "answerer", name="embedded/blip-vqa-scenes")
        from iterreason.models.embedded.bounded import bounded

        return bounded(opened, folder, doubts_words=doubts_words)
