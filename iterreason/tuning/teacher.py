"""A teacher in the reasoner's place: knows how a question falls apart, but learns about the image as a reasoner does.

Its questions and verdicts go by the evidence alone. Only its read-outs know the right answer: so the letter's
probability comes to say how often such evidence leads to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from iterreason.calls import Call, Capabilities, Reply, Sample
from iterreason.folding import fold
from iterreason.records import Evidence
from iterreason.tuning.belief import Belief, Said, decided, from_steps, spread, together
from iterreason.tuning.course import Course, course_of, in_other_words
from iterreason.tuning.lessons import Lesson
from iterreason.tuning.rules import RULES

UNSURE = 0.7  # an answer less probable than this is asked for again, in other words
ABLE = Capabilities("teacher", schema=True, logprobs=True, scores=True)
_WRONG = -20.0  # log-probability of a wrong letter in a read-out


@dataclass(slots=True)
class Teacher:
    """Plays the reasoner of one episode about a lesson. most: questions a round; rounds: at most."""

    lesson: Lesson
    most: int
    rounds: int
    direct: Said = ("", 0.0)
    caption: str = ""
    said: dict[str, Said] = field(default_factory=dict)  # by folded question
    numbers: dict[str, int] = field(default_factory=dict)
    round: int = 0

    def heed(self, evidence: Evidence) -> None:
        """Take in what was learned."""
        said = evidence.answer, evidence.probability or 0.0
        if evidence.kind == "caption":
            self.caption = evidence.answer
        elif evidence.kind == "answer":
            key = fold(evidence.question)
            if not self.said:
                self.direct = said
            self.said[key], self.numbers[key] = said, evidence.number

    def reply(self, call: Call) -> Reply:
        """What the reasoner is to say: a verdict with the next questions, or a letter."""
        if call.purpose == "readout":
            last = call.prompt.message
            assert last is not None, "a read-out asks something"
            right = [f"{letter}: {self.lesson.answer}" in last.text.splitlines() for letter in call.choices]
            scores = tuple(0.0 if is_right else _WRONG for is_right in right)
            return Reply((Sample(call.choices[right.index(True)], (0.0,)),), scores)
        self.round += 1
        return Reply((Sample(json.dumps(self._verdict(), ensure_ascii=False, separators=(",", ":")), (0.0,)),))

    def _verdict(self) -> dict[str, object]:
        course = self._course()
        steps = from_steps(self.lesson, course, self._known(course))
        belief = together(self.lesson, steps, self.direct)
        answer = max(belief, key=lambda choice: belief[choice])
        rule = RULES[self.lesson.rule]
        questions = self._questions(course) if self.round < self.rounds else []
        if not questions:
            rationale, cites = self._conclusion(course, steps, answer)
            return {"rationale": rationale, "cites": cites, "answer": answer, "missing": "", "questions": []}
        again = all(fold(text) in self.said for text in (*course.first, *course.texts))
        plan = rule.plan if self.round == 1 else "One answer is unsure; in other words." if again else "More to ask."
        return {"rationale": plan, "cites": [], "answer": answer, "missing": rule.missing, "questions": questions}

    def _course(self) -> Course:
        def known(text: str) -> str | None:
            said = self.said.get(fold(text))
            return said[0] if said else None

        return course_of(self.lesson, known, self.direct[0], self.caption)

    def _known(self, course: Course) -> dict[str, Said]:
        texts = [text for step in course.texts for text in (step, in_other_words(step)) if text]
        return {text: self.said[fold(text)] for text in texts if fold(text) in self.said}

    def _questions(self, course: Course) -> list[str]:
        """What is not known yet; when all is, what is unsure, in other words."""
        texts = tuple(dict.fromkeys((*course.first, *course.texts)))
        new = [text for text in texts if fold(text) not in self.said]
        if not new and (self.round == 1 or not self._is_sure(course)):
            others = [(text, in_other_words(text)) for text in course.texts]
            new = [other for text, other in others if other and fold(other) not in self.said
                   and (self.round == 1 or self.said[fold(text)][1] < UNSURE)]  # fmt: skip
        return new[: self.most]

    def _is_sure(self, course: Course) -> bool:
        return all(max(spread(self.said[fold(text)]).values()) >= UNSURE for text in course.texts)

    def _conclusion(self, course: Course, steps: Belief, answer: str) -> tuple[str, list[int]]:
        known = self._known(course)
        if not course.texts or not all(text in known for text in course.texts):
            return f"The direct answer is all there is: {answer}.", [2]
        likely = [_likelier(known, text) for text in course.texts]
        cites = [self.numbers[fold(text)] for text in course.texts][:8]
        details = self.lesson.details if self.lesson.rule == "box-most" else course.details
        says = RULES[self.lesson.rule].says(tuple(likely), details)
        said = decided(self.lesson, course, likely)
        if said is None:
            return f"{says}: that decides nothing; the direct answer is {answer}.", [*cites[:7], 2]
        if said != answer:
            return f"{says}: {said}, but unsure; {answer} is likelier.", [*cites[:7], 2]
        return f"{says}: {answer}.", cites


def _likelier(known: dict[str, Said], text: str) -> str:
    """The surer of the two answers to a step."""
    other = in_other_words(text)
    both = [known[text], *([known[other]] if other in known else [])]
    return max(both, key=lambda said: said[1])[0]
