"""What a stage of a 3D Swin may do besides shifted cubic windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medvit.models.layers.residual_stage import EntryNorm
from medvit.models.layers.windows import Side, fit_window

Windows = Literal["cubes", "factorised"]


@dataclass(frozen=True, slots=True)
class Variant:
    """Options of a stage; the default is the plain Swin.

    Attributes:
        windows: `cubes`, or `factorised`: blocks attend in a plane and along z in turn
            (Arnab 2021, arXiv 2103.15691, model 3), which costs w^2 and w keys for w^3.
        entry: Norm of the residual convolutions that begin a stage, or None for no such block.
        global_tokens: Follow each block by attention among one pooled token a window.
    """

    windows: Windows = "cubes"
    entry: EntryNorm | None = None
    global_tokens: bool = False

    def window_of(self, block: int, level: int, *, grid: Side, side: int) -> tuple[Side, Side]:
        """Return window and shift of a block on a grid (z, y, x).

        Args:
            block: Number of the block in its stage.
            level: Number of the stage; planes of every other stage are shifted.
            side: Side of the cubic window in tokens.

        Examples:
            >>> Variant().window_of(1, 0, grid=(12, 12, 4), side=6)
            ((6, 6, 4), (3, 3, 0))
            >>> Variant(windows="factorised").window_of(0, 1, grid=(12, 12, 4), side=6)
            ((1, 6, 4), (0, 3, 0))
            >>> Variant(windows="factorised").window_of(1, 1, grid=(12, 12, 4), side=6)
            ((6, 1, 1), (3, 0, 0))
        """
        window, shift = fit_window(grid, window=side, shift=side // 2)
        if self.windows == "cubes":
            return window, shift if block % 2 else (0, 0, 0)
        if (block // 2 + level) % 2 == 0:
            shift = (0, 0, 0)
        if block % 2:
            return (window[0], 1, 1), (shift[0], 0, 0)
        return (1, window[1], window[2]), (0, shift[1], shift[2])


PLAIN = Variant()
