"""In which words the embedded answerer was taught to be asked, and what its answers to others are worth.

It knows its phrasings rather than English: asked the same in other words it is as sure, and often wrong. A question is
in its words where each three of them in a row stood in a question that it was trained on; colours stand for each
other, and so do numbers. Made and fitted by `iterreason.tuning.fit_wording`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from iterreason.calls import Reply

_WORD = re.compile(r"[^\W\d_]+|[0-9]+")


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of the training questions.

    classes: words that stand for each other, each with the name of its class. trigrams: three words in a row, where
    "^" is before the first and "$" after the last. understood: how often a question in other words is understood, in
    (0, 1]; else the answer is a guess.
    """

    classes: dict[str, str]
    trigrams: frozenset[str]
    understood: float

    @classmethod
    def load(cls, path: Path) -> Wording:
        """The wording written beside the weights; raises OSError, ValueError or KeyError where it is broken."""
        said = json.loads(path.read_text(encoding="utf-8"))
        if not 0 < (understood := float(said["understood"])) <= 1:
            raise ValueError(f"'understood' must be above 0 and at most 1, not {understood}")
        return cls(said["classes"], frozenset(said["trigrams"]), understood)

    @property
    def hash(self) -> str:
        """Six hexadecimal digits that tell one wording's answers from another's."""
        said = repr((sorted(self.classes.items()), sorted(self.trigrams), self.understood))
        return sha256(said.encode()).hexdigest()[:6]

    def of(self, question: str) -> list[str]:
        """The question's trigrams."""
        words = ["^", *(self.classes.get(word, word) for word in _WORD.findall(question.lower())), "$"]
        return [" ".join(words[at : at + 3]) for at in range(len(words) - 2)]

    def share(self, question: str | None) -> float:
        """How likely it is that the question is understood: 1 in words that were trained on, or for a caption."""
        return 1.0 if not question or self.knows(question) else self.understood

    def knows(self, question: str) -> bool:
        """Whether the question is in words that were trained on; one without a word is not."""
        trigrams = self.of(question)
        return bool(trigrams) and self.trigrams.issuperset(trigrams)


def guessing(reply: Reply, share: float) -> Reply:
    """The reply of an answerer that understood the question with the probability `share`, and else guesses.

    Of scored choices a guess takes each as likely as any other; an open answer, it never meets.
    """
    masses = [math.exp(score) if score is not None else 0.0 for score in reply.scores]
    guess = (1 - share) * sum(masses) / len(masses) if masses else 0.0
    scores = tuple(math.log(max(share * mass + guess, 1e-30)) for mass in masses)
    samples = tuple(
        replace(sample, logprobs=(sample.logprobs[0] + math.log(share), *sample.logprobs[1:]))
        if sample.logprobs
        else sample
        for sample in reply.samples
    )
    return replace(reply, samples=samples, scores=scores)
