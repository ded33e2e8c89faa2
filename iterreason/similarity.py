"""How like a problem each of a pool's exemplars is, by question or by image; higher is more similar.

Without a model: TF-IDF vectors of the questions, thumbnails of the images. With one: cosine similarity of the vectors
that a sentence-transformers checkpoint gives, CLIP and its like for images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from iterreason.calls import View
from iterreason.errors import BadPolicy, IterReasonError, ModelFailed
from iterreason.extras import needed
from iterreason.records import Exemplar, Image, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE = 16  # of the thumbnails that images are compared by, in pixels
_loading = Lock()
_loaded: dict[str, _Embedder | IterReasonError] = {}


def similarities(
    problem: Problem, pool: Sequence[Exemplar], by: Literal["question", "image"], embedder: str
) -> list[float]:
    """One number for each exemplar. Of several images the first counts; an exemplar without any is least similar.

    embedder: the folder or the hub's name of a sentence-transformers checkpoint; "" does without a model. It runs on
        the CPU, and makes each vector once a process.
    Raises MissingExtra, BadImage; ModelFailed where the checkpoint cannot be had, BadPolicy where it takes no images.
    """
    if by == "question":
        texts = [problem.question, *(exemplar.question for exemplar in pool)]
        return _cosines(_embedder(embedder).of_texts(texts)) if embedder else _of_words(texts)
    images = [problem.images[0], *(exemplar.images[0] for exemplar in pool if exemplar.images)]
    near = iter(_cosines(_embedder(embedder).of_images(images)) if embedder else _of_thumbnails(images))
    return [next(near) if exemplar.images else float("-inf") for exemplar in pool]


def _of_words(texts: Sequence[str]) -> list[float]:
    """Cosine similarity of the first text to the others by TF-IDF over words and pairs of words."""
    sklearn = needed("sklearn.feature_extraction.text", "bench", "exemplars_by = 'question' (by 'image' needs none)")
    vectors = sklearn.TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").fit_transform(texts)
    return [float(near) for near in (vectors[1:] @ vectors[0].T).toarray()[:, 0]]


def _of_thumbnails(images: Sequence[Image]) -> list[float]:
    """Minus the mean absolute difference of the first thumbnail to the others; they keep colour and layout."""
    import numpy as np
    from PIL.Image import Resampling

    target, *others = (
        np.asarray(_pixels(image).resize((_SIDE, _SIDE), Resampling.BOX), dtype=np.float32) / 255 for image in images
    )
    return [-float(np.abs(other - target).mean()) for other in others]


def _pixels(image: Image) -> Any:
    from iterreason.images import decode

    return decode(View(image))


def _cosines(vectors: Sequence[NDArray[Any]]) -> list[float]:
    return [float(vector @ vectors[0]) for vector in vectors[1:]]


class _Embedder:
    """A sentence-transformers model, and the unit vectors that it has made."""

    def __init__(self, name: str, model: Any) -> None:
        self._name, self._model = name, model
        self._texts: dict[str, NDArray[Any]] = {}
        self._images: dict[str, NDArray[Any]] = {}
        self._lock = Lock()  # one at a time: the threads of many episodes ask about the same pool

    def of_texts(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Their vectors."""
        with self._lock:
            if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
                self._texts |= zip(new, self._encoded(new), strict=True)
        return [self._texts[text] for text in texts]

    def of_images(self, images: Sequence[Image]) -> list[NDArray[Any]]:
        """Their vectors."""
        if not self._model.supports("image"):
            raise BadPolicy(
                f"the embedder {self._name} takes no images; name a checkpoint that does (CLIP, say),"
                " or compare with exemplars_by = 'question'"
            )
        with self._lock:
            new = {image.sha256: image for image in images if image.sha256 not in self._images}
            if new:
                self._images |= zip(new, self._encoded([_pixels(image) for image in new.values()]), strict=True)
        return [self._images[image.sha256] for image in images]

    def _encoded(self, inputs: list[Any]) -> list[NDArray[Any]]:
        return list(self._model.encode(inputs, normalize_embeddings=True, show_progress_bar=False))


def _embedder(name: str) -> _Embedder:
    """The embedder of this name; what failed once fails the same way again, without another try."""
    with _loading:
        if name not in _loaded:
            try:
                _loaded[name] = _load(name)
            except IterReasonError as error:
                _loaded[name] = error
        found = _loaded[name]
    if isinstance(found, IterReasonError):
        raise found
    return found


def _load(name: str) -> _Embedder:
    from iterreason.models.hf import quiet
    from iterreason.models.hf.finding import ask_hub, on_hub, sentence
    from iterreason.models.hf.processing import tolerate_torchvision

    tolerate_torchvision()
    needed("sentence_transformers", "exemplars", "exemplars_embedder")
    folder = Path(name).expanduser()
    if not folder.is_dir() and not on_hub(name):
        raise ModelFailed(f"exemplars_embedder = '{name}' is no folder; name a checkpoint's folder, or OWNER/NAME")
    with quiet():
        try:
            if folder.is_dir():
                return _Embedder(name, _model(str(folder), local=True))
            try:
                return _Embedder(name, _model(name, local=True))
            except Exception:  # not in the local cache, or not all of it
                ask_hub(name)
                return _Embedder(name, _model(name, local=False))
        except IterReasonError as error:
            raise ModelFailed(f"exemplars_embedder: {error}") from None
        except Exception as error:  # a folder may hold anything, and fail the libraries in any way
            raise ModelFailed(f"exemplars_embedder: {name} cannot be loaded: {sentence(error)}") from error


def _model(where: str, *, local: bool) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(where, device="cpu", trust_remote_code=False, local_files_only=local)
