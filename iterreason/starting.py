"""How an episode starts: the looks before the first round, made unless the memory has them; the direct answer."""

from __future__ import annotations

from iterreason.errors import BadProblem
from iterreason.memory import SameText
from iterreason.policy import DIRECT_ESTIMATORS
from iterreason.prompts import one_line
from iterreason.records import Candidate, Evidence, Question, Verdict
from iterreason.state import Direct, Ended, State
from iterreason.tools.spec import first_use


def first_looks(state: State) -> tuple[Question, ...]:
    """A caption of each image, the tools that go first, the question itself: what the memory does not have already.

    What was withdrawn is not looked at again either: the same model would say the same. Raises BadProblem.
    """
    first, images = state.plan.look_first, range(len(state.problem.images))
    looks = [Question("", image) for image in images if "caption" in first]
    before = [spec for spec in state.plan.tools if spec.name in state.policy.tools.first]
    looks += [first_use(spec, image) for image in images for spec in before]
    if "question" in first and len(images) == 1:
        looks.append(Question(state.problem.question.strip()))
        _known_direct(state)
    elif state.plan.confidence in DIRECT_ESTIMATORS or state.policy.verdict_by == "answerer":
        raise BadProblem(
            f"policy '{state.plan.named.name}' asks one image the question itself; the problem has {len(images)}"
        )
    return tuple(look for look in looks if not any(_made(look, e, state.plan.same) for e in state.memory.evidence))


def _made(look: Question, known: Evidence, same: SameText) -> bool:
    if known.kind in ("error", "told") or known.image != look.image:
        return False
    if look.use:
        return known.question == look.text
    return known.region is None and known.kind != "found" and same(known.question, look.text)


def _known_direct(state: State) -> None:
    """Count as direct what the answerers said to this very question in an earlier episode."""
    for known in state.memory.standing:
        if known.kind == "answer" and _made(Question(state.problem.question.strip()), known, state.plan.same):
            weight = state.plan.reliability.weight(known.model, known.question)
            state.directs += (Direct(known.number, weight, (Candidate(known.answer, known.probability),)),)


def direct_verdict(state: State) -> Verdict:
    """What the answerers, asked directly, come to; it cites those that say so."""
    asked = state.problem.question.strip()
    said = [e for e in state.memory.evidence if state.plan.same(e.question, asked) and e.kind != "told"]
    answered = [e for e in said if state.is_direct(e.number)]
    if not answered and said[-1].number in state.memory.withdrawn:
        return Verdict(None)
    if not answered and said[-1].kind == "error":
        raise Ended("error", f"the answerer failed: {said[-1].answer}")
    if not answered:
        text = one_line(said[-1].answer, 60)
        raise Ended("error", f"the answerer's reply {text!r} is none of: {', '.join(state.problem.choices)}")
    answer = answered[0].answer if len(answered) == 1 else state.direct[0].answer
    return Verdict(answer, cites=tuple(e.number for e in answered if state.plan.same(e.answer, answer)))
