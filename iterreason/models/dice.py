"""Random numbers for sampling in this process: each sample has its own, so that no batch can change it."""

from __future__ import annotations

import torch
from torch import Tensor

from iterreason.calls import Call


def dice_of(call: Call, number: int) -> torch.Generator | None:
    """A sample's own random numbers (`number` is 0-based); none where it is greedy.

    With a seed they depend on the call alone; without one they differ each time.
    """
    if call.sampling.temperature == 0:
        return None
    dice, seed = torch.Generator(), call.seed_of(number)
    if seed is None:
        dice.seed()
    else:
        dice.manual_seed(seed)
    return dice


def draw(scores: Tensor, temperature: float, dice: torch.Generator | None) -> int:
    """The place of one of these unnormalised log-probabilities, drawn at a temperature; the highest without dice."""
    if dice is None:
        return int(scores.argmax())
    return int(torch.multinomial((scores / temperature).softmax(-1).cpu(), 1, generator=dice))


class Drawing:
    """Makes transformers' greedy search draw: for each row the Gumbel-max trick with dice of its own.

    rows: temperature and dice of each; a row without dice stays greedy. Source: Maddison et al., NeurIPS 2014.
    """

    def __init__(self, rows: list[tuple[float, torch.Generator | None]]) -> None:
        self._rows = rows

    def __call__(self, tokens: Tensor, scores: Tensor) -> Tensor:
        """The scores of the next token (rows, tokens), moved so that their highest is the one drawn."""
        moved = scores.float().clone()
        for place, (temperature, dice) in enumerate(self._rows):
            if dice is not None:
                noise = torch.empty(moved.shape[1]).exponential_(generator=dice).log().to(moved.device)
                moved[place] = moved[place] / temperature - noise
        return moved
