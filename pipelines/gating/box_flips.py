"""True boxes that one detector finds and the other does not, with a picture of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medvit.data.labels.label_set import Box
from medvit.errors import ReadError
from medvit.report.gate_pictures import image_thumbnail
from medvit.report.gate_report import Flip
from medvit.report.thumbnails import MARK
from pipelines.gating.weighed import MOST_FLIPS

if TYPE_CHECKING:
    from pipelines.gating.frozen_boxes import FrozenBoxes

Floats = NDArray[np.float64]

LINE = 0.01
"""Share of the longer side of an image that the line around a box takes."""


@dataclass(frozen=True, slots=True)
class FrozenBox:
    """A true box and the index of its image."""

    image: int
    box: Box

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        """Left, top, width and height in pixels."""
        box = self.box
        return box.x_min, box.y_min, box.x_max - box.x_min, box.y_max - box.y_min

    @property
    def area_px2(self) -> float:
        """Width times height."""
        return self.xywh[2] * self.xywh[3]


def box_flips(
    frozen: FrozenBoxes, true: Sequence[FrozenBox], champion: Floats, challenger: Floats
) -> tuple[Flip, ...]:
    """Return true boxes that flipped: what was lost first, classes by turns.

    Args:
        frozen: The images.
        true: All boxes.
        champion: Score of what found each of them, NaN for none (b,).
        challenger: Likewise.
    """
    before, after = np.isfinite(champion), np.isfinite(challenger)
    lost = _spread(np.flatnonzero(before & ~after), true)[: MOST_FLIPS // 2]
    gained = _spread(np.flatnonzero(after & ~before), true)[: MOST_FLIPS - len(lost)]
    return tuple(
        Flip(
            case=frozen.cases[true[at].image].path,
            truth=true[at].box.label,
            champion=_said(champion[at]),
            challenger=_said(challenger[at]),
            gained=bool(after[at]),
            picture=_picture(frozen, true[at]),
        )
        for at in (*lost, *gained)
    )


def _spread(places: NDArray[np.intp], true: Sequence[FrozenBox]) -> list[int]:
    """Return places so that the first ones are of different classes."""
    met: Counter[str] = Counter()
    ranked = []
    for at in places.tolist():
        label = true[at].box.label
        ranked.append((met[label], label, at))
        met[label] += 1
    return [at for _, _, at in sorted(ranked)]


def _said(score: float) -> str:
    return f"found ({score:.2f})" if np.isfinite(score) else "missed"


def _picture(frozen: FrozenBoxes, box: FrozenBox) -> str:
    from medvit.io.readers import read_image

    try:
        pixels = read_image(frozen.root / frozen.cases[box.image].path, isolated=False).pixels
    except ReadError:  # answers may be kept longer than images
        return ""
    return image_thumbnail(_framed(pixels, box.box))


def _framed(pixels: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """Return a copy of an image (h, w, 3) in 0..1 with a line around a box, outside of it."""
    height, width = pixels.shape[:2]
    line = max(1, round(LINE * max(height, width)))
    x0, y0 = max(0, round(box.x_min)), max(0, round(box.y_min))
    x1, y1 = min(width, round(box.x_max)), min(height, round(box.y_max))
    framed = pixels.copy()
    left, top = max(0, x0 - line), max(0, y0 - line)
    framed[top : y1 + line, left : x1 + line] = np.array(MARK, dtype=np.float32) / 255
    framed[y0:y1, x0:x1] = pixels[y0:y1, x0:x1]
    return framed
