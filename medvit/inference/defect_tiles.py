"""Defects on images larger than those a classifier was trained on: judged in tiles, joined.

Only a classifier with a class of sound surfaces can say that a tile shows nothing, so only one
whose card names it judges in tiles. Tiles have the size of the largest training image, and each
lies half on the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from torch import nn

from medvit.data.duplicates.groups import connected
from medvit.inference.box_tiles import LARGER, OVERLAP, PlaneTile, plane_tiles
from medvit.inference.defects import Box, Judgement, judge_image
from medvit.inference.evidence import FlatGrids
from medvit.models.weights import ModelCard

LEAST_PROBABILITY = 0.5
"""Of a tile that speaks for a defect, where the card has no threshold for its class."""


@dataclass(frozen=True, slots=True)
class TiledDefect:
    """A defect that one tile or several neighbours speak for.

    Attributes:
        label: Its class.
        probability: That of the tile that is most sure.
        box: x_min, y_min, x_max, y_max in pixels of the image, half-open.
        features: (d,), what the head read of that tile.
    """

    label: str
    probability: float
    box: Box
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TiledJudgement:
    """What the tiles of an image say.

    Attributes:
        label: Of the most probable defect; the class of sound surfaces without one.
        probability: Of that defect; without one, that the least sound tile is sound.
        defects: The most probable first.
        features: (d,), of the tile that was decisive.
    """

    label: str
    probability: float
    defects: tuple[TiledDefect, ...]
    features: NDArray[np.float32]


def needs_tiles(card: ModelCard, *, height: int, width: int) -> bool:
    """Whether an image is so much larger than the training images that it is judged in tiles."""
    how = card.preprocessing
    largest_px = int(how.get("image_px", 0))
    return bool(how.get("sound_class") and largest_px and max(height, width) > LARGER * largest_px)


def judge_tiles(
    pixels: NDArray[np.float32],
    model: nn.Module,
    card: ModelCard,
    *,
    flats: FlatGrids | None = None,
) -> TiledJudgement:
    """Return the defects of a large image.

    Args:
        pixels: Shape (h, w, 3), values 0..1.
        model: A classifier in evaluation mode.
        card: Its card, with `preprocessing.image_px` and `preprocessing.sound_class`.
        flats: As of `judge_image`.

    Raises:
        ModelError: If the model is not an image classifier with these classes.
    """
    sound, side_px = str(card.preprocessing["sound_class"]), int(card.preprocessing["image_px"])
    overlap_px = int(OVERLAP * side_px)
    height, width = pixels.shape[:2]
    spoken: list[TiledDefect] = []
    least = (np.inf, np.empty(0, dtype=np.float32))
    for tile in plane_tiles(height, width, side_px=side_px, overlap_px=overlap_px):
        x0, y0, x1, y1 = tile.box
        judged = judge_image(pixels[y0:y1, x0:x1], model, card, flats=flats)
        least = min(least, (judged.probabilities[sound], judged.features), key=itemgetter(0))
        cut = card.thresholds.get(judged.label, LEAST_PROBABILITY)
        if judged.label != sound and judged.box is not None and judged.probability >= cut:
            spoken.append(_placed(judged, judged.box, tile))
    defects = joined_defects(spoken)
    if defects:
        best = defects[0]
        return TiledJudgement(best.label, best.probability, defects, best.features)
    return TiledJudgement(sound, least[0], (), least[1])


def joined_defects(spoken: Sequence[TiledDefect]) -> tuple[TiledDefect, ...]:
    """Return one defect for all boxes of a class that overlap, around them, the surest first."""
    pairs = [
        (str(first), str(second))
        for first, one in enumerate(spoken)
        for second, other in enumerate(spoken[:first])
        if one.label == other.label and _overlap(one.box, other.box)
    ]
    chief = connected([str(at) for at in range(len(spoken))], pairs)
    families: dict[str, list[TiledDefect]] = {}
    for at, each in enumerate(spoken):
        families.setdefault(chief[str(at)], []).append(each)
    defects = [_around(own) for own in families.values()]
    return tuple(sorted(defects, key=lambda each: (-each.probability, each.box)))


def _placed(judged: Judgement, box: Box, tile: PlaneTile) -> TiledDefect:
    left, top = tile.box[:2]
    x0, y0, x1, y1 = box
    moved = (x0 + left, y0 + top, x1 + left, y1 + top)
    return TiledDefect(judged.label, judged.probability, moved, judged.features)


def _overlap(one: Box, other: Box) -> bool:
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(
        one[1], other[1]
    )


def _around(own: Sequence[TiledDefect]) -> TiledDefect:
    surest = max(own, key=lambda each: each.probability)
    edges = np.array([each.box for each in own])
    (x0, y0), (x1, y1) = edges[:, :2].min(axis=0).tolist(), edges[:, 2:].max(axis=0).tolist()
    return TiledDefect(surest.label, surest.probability, (x0, y0, x1, y1), surest.features)
