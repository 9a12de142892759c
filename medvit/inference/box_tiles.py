"""Boxes on images that are larger than those of the training: tiles that overlap, joined.

A pixel keeps its size: tiles have that of the largest training image. Every defect that fits
into the overlap is whole in some tile, and that tile decides alone. Of a larger one, each
tile gives a part that ends at the border of the tile; parts that agree where their tiles
overlap become one box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray

from medvit.data.box_canvas import Canvas
from medvit.inference.batches import in_batches
from medvit.inference.boxes import (
    LEAST_SCORE,
    MOST_BOXES,
    ScoredBoxes,
    boxes_of_image,
    canvas_of,
    detect,
    joined,
    on_image,
    one_each,
)
from medvit.models.heads.boxes import BoxDetector
from medvit.models.weights import ModelCard
from medvit.tiles.grid import tile_starts

LARGER = 1.5
"""Times the largest training image; a larger one is looked at in tiles."""

OVERLAP = 0.5
"""Share of its side that a tile has in common with the next one."""

BORDER = 0.02
"""A box that comes as near as this share of the side to the border of its tile is cut there."""

AGREED = 0.5
"""IoU of two parts where their tiles overlap, from which they belong to one defect."""

CONTAINED = 0.7
"""A part of which this share lies in a whole box of its class is the same defect."""

MOST_AT_ONCE = 8
"""Tiles of a batch."""

Pixels = NDArray[np.float32]
Look = Callable[[list[Pixels]], list[ScoredBoxes]]
"""From the pixels of tiles to boxes in the pixels of each."""


@dataclass(frozen=True, slots=True)
class PlaneTile:
    """A part of an image, half-open, in pixels.

    Attributes:
        box: x_min, y_min, x_max, y_max.
        core: Part of it that this tile alone decides; the cores of all tiles divide the image.
    """

    box: tuple[int, int, int, int]
    core: tuple[int, int, int, int]


def find_boxes(
    pixels: Pixels, net: BoxDetector, card: ModelCard, *, least: float = LEAST_SCORE
) -> ScoredBoxes:
    """Return the boxes of an image (h, w, 3) of any size, best first, in its pixels.

    Args:
        least: Score from which a box is given.

    Raises:
        ModelError: If net and card do not fit, or the net gives no finite numbers.
    """
    height, width = pixels.shape[:2]
    side = int(card.preprocessing.get("image_px", 0)) or max(height, width)
    if max(height, width) <= LARGER * side:
        return boxes_of_image(pixels, net, card, least=least)

    def look(parts: list[Pixels]) -> list[ScoredBoxes]:
        return _look(parts, net, card, least=least)

    return boxes_in_tiles(pixels, look, side_px=side, overlap_px=int(OVERLAP * side))


def _look(
    parts: list[Pixels], net: BoxDetector, card: ModelCard, *, least: float
) -> list[ScoredBoxes]:
    canvases: list[Canvas] = [canvas_of(part, net, card) for part in parts]
    batch = torch.from_numpy(np.stack([canvas.planes for canvas in canvases]))
    answers = detect(net, batch, least=least)
    return [
        on_image(found, canvas, size=(part.shape[0], part.shape[1]))
        for found, canvas, part in zip(answers, canvases, parts, strict=True)
    ]


def boxes_in_tiles(pixels: Pixels, look: Look, *, side_px: int, overlap_px: int) -> ScoredBoxes:
    """Return the boxes of an image (h, w, 3) from what is seen in its tiles.

    Args:
        pixels: The image.
        look: Finds boxes in tiles; asked for several of one size at once.
        side_px: Side of a tile.
        overlap_px: What neighbours have in common at least; less than the side.

    Raises:
        ValueError: If tiles cannot lie so.
    """
    size = (pixels.shape[0], pixels.shape[1])
    tiles = list(plane_tiles(*size, side_px=side_px, overlap_px=overlap_px))
    parts = (pixels[t.box[1] : t.box[3], t.box[0] : t.box[2]] for t in tiles)
    seen = [
        _shifted(found, tile)
        for tile, found in zip(tiles, in_batches(parts, look, most=MOST_AT_ONCE), strict=True)
    ]
    return merge_tiles(tiles, seen, size=size, side_px=side_px)


def plane_tiles(height: int, width: int, *, side_px: int, overlap_px: int) -> Iterator[PlaneTile]:
    """Yield the fewest tiles that cover an image, row by row.

    All have one size; where the image is shorter than a tile they are as short as the image.

    Examples:
        >>> [tile.core for tile in plane_tiles(4, 10, side_px=6, overlap_px=2)]
        [(0, 0, 5, 4), (5, 0, 10, 4)]
    """
    rows, columns = (
        _along(length, side_px=side_px, step=side_px - overlap_px) for length in (height, width)
    )
    for (y0, y1, top, bottom), (x0, x1, left, right) in product(rows, columns):
        yield PlaneTile((x0, y0, x1, y1), (left, top, right, bottom))


def _along(length: int, *, side_px: int, step: int) -> list[tuple[int, int, int, int]]:
    starts = tile_starts(length, side=side_px, step=step)
    ends = [(start, min(start + side_px, length)) for start in starts]
    inner = [(stop + start) // 2 for (_, stop), (start, _) in pairwise(ends)]
    return [(*end, *core) for end, core in zip(ends, pairwise([0, *inner, length]), strict=True)]


def merge_tiles(
    tiles: Sequence[PlaneTile],
    seen: Sequence[ScoredBoxes],
    *,
    size: tuple[int, int],
    side_px: int,
) -> ScoredBoxes:
    """Return one list of boxes from those of each tile, in pixels of the image.

    Args:
        tiles: All that cover the image.
        seen: Boxes of each tile, in pixels of the image.
        size: Height and width of the image.
        side_px: Of a tile.
    """
    whole, cut, cut_by = [], [], []
    for number, (tile, found) in enumerate(zip(tiles, seen, strict=True)):
        is_cut = _is_cut(found, tile, size=size, border_px=BORDER * side_px)
        complete = found.only(~is_cut)
        whole.append(complete.only(_in_core(complete, tile)))
        cut.append(found.only(is_cut))
        cut_by.append(np.full(len(cut[-1]), number))
    known, parts = joined(whole), joined(cut)
    owner = np.concatenate([*cut_by, np.empty(0, dtype=np.intp)]).astype(np.intp)
    loose = np.array([not _is_contained(parts, at, known) for at in range(len(parts))], dtype=bool)
    grown = _grown(parts.only(loose), [tiles[number] for number in owner[loose]])
    alone = np.array([not _is_contained(known, at, grown) for at in range(len(known))], dtype=bool)
    return one_each(joined([known.only(alone), grown]), most=_most(tiles))


def _most(tiles: Sequence[PlaneTile]) -> int:
    return MOST_BOXES * len(tiles)


def _shifted(found: ScoredBoxes, tile: PlaneTile) -> ScoredBoxes:
    offset = np.array(tile.box[:2] * 2, dtype=np.float64)
    return ScoredBoxes(found.boxes + offset, found.scores, found.labels)


def _is_cut(
    found: ScoredBoxes, tile: PlaneTile, *, size: tuple[int, int], border_px: float
) -> NDArray[np.bool_]:
    """Return which boxes end at a border of the tile beyond which the image goes on."""
    height, width = size
    x0, y0, x1, y1 = found.boxes.T
    left, top, right, bottom = tile.box
    cut: NDArray[np.bool_] = (
        ((x0 <= left + border_px) & (left > 0))
        | ((y0 <= top + border_px) & (top > 0))
        | ((x1 >= right - border_px) & (right < width))
        | ((y1 >= bottom - border_px) & (bottom < height))
    )
    return cut


def _in_core(found: ScoredBoxes, tile: PlaneTile) -> NDArray[np.bool_]:
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    low, high = np.array(tile.core[:2]), np.array(tile.core[2:])
    return np.asarray(((middle >= low) & (middle < high)).all(axis=1))


def _is_contained(found: ScoredBoxes, at: int, others: ScoredBoxes) -> bool:
    """Whether most of a box lies in another one of its class."""
    same = others.boxes[others.labels == found.labels[at]]
    box = found.boxes[at]
    low, high = np.maximum(same[:, :2], box[:2]), np.minimum(same[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    return bool((shared >= CONTAINED * np.prod(box[2:] - box[:2])).any())


def _grown(parts: ScoredBoxes, tiles: Sequence[PlaneTile]) -> ScoredBoxes:
    """Return the boxes around parts that belong together; the best score of each."""
    chief = list(range(len(parts)))

    def find(index: int) -> int:
        while chief[index] != index:
            index = chief[index]
        return index

    for first in range(len(parts)):
        for second in range(first):
            if parts.labels[first] == parts.labels[second] and _agree(
                parts, (first, second), tiles
            ):
                ends = sorted((find(first), find(second)))
                chief[ends[1]] = ends[0]
    roots = np.array([find(index) for index in range(len(parts))], dtype=np.intp)
    boxes = []
    for root in np.unique(roots):
        own = parts.only(roots == root)
        low, high = own.boxes[:, :2].min(axis=0), own.boxes[:, 2:].max(axis=0)
        label = own.labels[:1]
        boxes.append(
            ScoredBoxes(np.concatenate([low, high])[None], own.scores.max(keepdims=True), label)
        )
    return joined(boxes)


def _agree(parts: ScoredBoxes, pair: tuple[int, int], tiles: Sequence[PlaneTile]) -> bool:
    """Whether two parts look alike where the tiles that saw them overlap."""
    views = np.array([tiles[index].box for index in pair], dtype=np.float64)
    low, high = views[:, :2].max(axis=0), views[:, 2:].min(axis=0)
    if (high <= low).any() or (views[0] == views[1]).all():
        return False
    first, second = (
        np.concatenate([np.maximum(box[:2], low), np.minimum(box[2:], high)])
        for box in (parts.boxes[index] for index in pair)
    )
    shared = _area(
        np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])])
    )
    union = _area(first) + _area(second) - shared
    return bool(union > 0 and shared >= AGREED * union)


def _area(box: NDArray[np.float64]) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))
