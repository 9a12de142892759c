from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medvit.inference.box_tiles import Pixels, boxes_in_tiles, plane_tiles
from medvit.inference.boxes import ScoredBoxes, joined, no_boxes


def look(parts: list[Pixels]) -> list[ScoredBoxes]:
    """Find bright rectangles exactly; what is 2/3 bright is of class 1. It sees nothing else."""
    return [_bright(part) for part in parts]


def _bright(part: Pixels) -> ScoredBoxes:
    grey = part[..., 0]
    places, _ = ndimage.label(grey > 0.1, structure=np.ones((3, 3)))
    found = [no_boxes()]
    for rows, columns in ndimage.find_objects(places):
        box = [columns.start, rows.start, columns.stop, rows.stop]
        level = float(grey[rows, columns].max())
        label = int(0.5 < level < 0.8)
        found.append(
            ScoredBoxes(np.array([box], float), np.array([level]), np.array([label], dtype=np.intp))
        )
    return joined(found)


def image_with(
    boxes: list[tuple[int, int, int, int]], *, size: tuple[int, int], others: bool = True
) -> Pixels:
    """Draw rectangles; every second one is of class 1 where there are `others`."""
    pixels = np.zeros((*size, 3), np.float32)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        pixels[y0:y1, x0:x1] = 2 / 3 if others and number % 2 else 1
    return pixels


def as_set(found: ScoredBoxes) -> set[tuple[float, ...]]:
    return {
        (*box, int(label)) for box, label in zip(found.boxes.tolist(), found.labels, strict=True)
    }


@settings(max_examples=40)
@given(
    st.integers(50, 90),
    st.integers(50, 90),
    st.lists(st.tuples(*[st.integers(0, 88)] * 2, *[st.integers(2, 18)] * 2), max_size=5),
)
def test_tiles_give_what_the_whole_image_gives(
    height: int, width: int, drawn: list[tuple[int, int, int, int]]
) -> None:
    boxes = [
        (x, y, min(width, x + w), min(height, y + h))
        for x, y, w, h in drawn
        if x + 2 < width and y + 2 < height
    ]
    pixels = image_with(boxes, size=(height, width), others=False)
    whole = _bright(pixels)
    if any(max(box[2] - box[0], box[3] - box[1]) > 18 for box in whole.boxes):
        return  # rectangles that touch make a larger one; another test has those
    found = boxes_in_tiles(pixels, look, side_px=40, overlap_px=20)
    assert as_set(found) == as_set(whole)
    assert len(found) == len(whole)


def test_a_defect_larger_than_a_tile_becomes_one_box() -> None:
    scratch = (5, 30, 155, 36)
    pixels = image_with([scratch, (60, 60, 70, 70)], size=(90, 160))
    found = boxes_in_tiles(pixels, look, side_px=40, overlap_px=20)
    assert as_set(found) == {(5.0, 30.0, 155.0, 36.0, 0), (60.0, 60.0, 70.0, 70.0, 1)}


def test_two_defects_in_line_stay_two() -> None:
    pixels = image_with([(5, 30, 30, 36), (5, 60, 8, 62), (34, 30, 60, 36)], size=(80, 80))
    found = boxes_in_tiles(pixels, look, side_px=40, overlap_px=20)
    lying = {(5.0, 30.0, 30.0, 36.0, 0), (34.0, 30.0, 60.0, 36.0, 0)}
    assert as_set(found) == lying | {(5.0, 60.0, 8.0, 62.0, 1)}


def test_a_surface_without_a_defect_gives_nothing() -> None:
    pixels = np.zeros((100, 130, 3), np.float32)
    assert len(boxes_in_tiles(pixels, look, side_px=40, overlap_px=20)) == 0


@given(st.integers(8, 120), st.integers(8, 120), st.integers(8, 50), st.integers(0, 7))
def test_cores_divide_the_image_and_lie_in_their_tiles(
    height: int, width: int, side: int, overlap: int
) -> None:
    decided = np.zeros((height, width), int)
    for tile in plane_tiles(height, width, side_px=side, overlap_px=overlap):
        x0, y0, x1, y1 = tile.core
        decided[y0:y1, x0:x1] += 1
        assert tile.box[0] <= x0 <= x1 <= tile.box[2]
        assert tile.box[1] <= y0 <= y1 <= tile.box[3]
        assert (tile.box[2] - tile.box[0], tile.box[3] - tile.box[1]) == (
            min(side, width),
            min(side, height),
        )
    assert (decided == 1).all()


def test_an_overlap_without_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="step=0"):
        boxes_in_tiles(np.zeros((50, 50, 3), np.float32), look, side_px=20, overlap_px=20)
