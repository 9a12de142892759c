"""A bank of places that a detector wrongly marked, and draws that go back to them.

Online hard example mining (Shrivastava 2016, arXiv 1604.03540), with a memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medvit.data.draws import DrawKey, FreshDraws, Spot, phase_of

FADE = 0.7
"""What is left of the score of a mark in each round that does not see it again."""

APART_VOXELS = 6.0
"""Marks nearer than this are one."""

Rows = NDArray[np.float64]  # (n, 5): background, z, y, x in its voxels, score


class FalseMarks:
    """The worst false marks of a training so far; part of its checkpoint.

    Args:
        most: So many are kept, those of the highest scores.
    """

    def __init__(self, most: int = 512) -> None:
        self.most = most
        self.phase = 0
        self.rows: Rows = np.zeros((0, 5))

    def add(self, phase: int, rows: Rows) -> None:
        """Take in what a round of mining found; older marks fade.

        Args:
            phase: Marks of another phase have other voxels and are forgotten.
            rows: In any order.
        """
        old = self.rows * [1, 1, 1, 1, FADE] if phase == self.phase else self.rows[:0]
        both = np.concatenate([rows, old])
        z, y, x, score = both[:, 1:].T
        order = np.lexsort((x, y, z, both[:, 0], -score))
        kept: list[int] = []
        for row in order.tolist():
            if len(kept) == self.most:
                break
            same = [other for other in kept if both[other, 0] == both[row, 0]]
            away = np.linalg.norm(both[same, 1:4] - both[row, 1:4], axis=1)
            if not (away < APART_VOXELS).any():
                kept.append(row)
        self.phase, self.rows = phase, both[kept]

    def draw(self, rng: np.random.Generator) -> Spot | None:
        """Draw a mark, the likelier the higher its score; None from an empty bank."""
        if not len(self.rows):
            return None
        scores = self.rows[:, 4]
        background, z, y, x = self.rows[rng.choice(len(scores), p=scores / scores.sum()), :4]
        return Spot(int(background), (round(z), round(y), round(x)))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"phase": self.phase, "rows": torch.from_numpy(self.rows.copy())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.phase = int(state_dict["phase"])
        self.rows = state_dict["rows"].cpu().numpy()


class MinedDraws(FreshDraws):
    """Fresh draws of which a share goes to false marks, once there are any.

    Args:
        per_epoch: As in `FreshDraws`, like `epochs` and `shares`.
        hard_share: Share of items that are drawn from the bank.
        seed: Of the choice among marks.
    """

    def __init__(
        self,
        per_epoch: int,
        marks: FalseMarks,
        *,
        hard_share: float,
        seed: int,
        epochs: int = 1,
        shares: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__(per_epoch, epochs=epochs, shares=shares)
        self.marks = marks
        self.hard_share = hard_share
        self.seed = seed

    def phase_at(self, epoch: int) -> int:
        """Return the phase of an epoch counted from 0."""
        return phase_of(epoch, epochs=self.epochs, shares=self.shares)

    def __iter__(self) -> Iterator[DrawKey]:
        for key in super().__iter__():
            rng = np.random.default_rng((self.seed, key.number, 1))
            is_hard = rng.random() < self.hard_share and self.marks.phase == key.phase
            yield key._replace(spot=self.marks.draw(rng)) if is_hard else key
