from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvit.report.box_pictures import COLOURS, DrawnBox, draw_boxes, write_box_mosaic
from medvit.report.box_thumbnail import box_thumbnail
from medvit.report.thumbnails import GAP_PX, IMAGE_PX, MARK


def test_boxes_are_drawn_at_their_places_in_the_colour_of_their_class() -> None:
    grey = np.zeros((50, 100), np.uint8)
    picture = draw_boxes(grey, [DrawnBox((10, 20, 40, 45), 1)], classes=("a", "b"), side_px=200)
    assert picture.size == (200, 100)
    ink = tuple(bytes.fromhex(COLOURS[1][1:]))
    for place in ((20, 60), (79, 60), (50, 40), (50, 89)):
        assert picture.getpixel(place) == ink
    assert picture.getpixel((50, 65)) == (0, 0, 0)


def test_a_mosaic_has_up_to_sixteen_images_in_rows_of_four(tmp_path: Path) -> None:
    images = [np.zeros((20, 20), np.uint8)] * 18
    write_box_mosaic(tmp_path / "m.jpg", images, [[]] * 18, classes=("a",))
    with Image.open(tmp_path / "m.jpg") as picture:
        assert picture.size == (4 * 224, 4 * 224)


@pytest.mark.parametrize("size", [(40, 100), (1000, 3000), (8, 2000)])
def test_a_thumbnail_marks_boxes_on_images_of_any_size(size: tuple[int, int]) -> None:
    height, width = size
    box = (width // 4, 0, width // 2, height)
    uri = box_thumbnail(np.full((height, width, 3), 0.5, np.float32), [box])
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        pair = np.asarray(picture.convert("RGB"), float)
    assert pair.shape[1] == 2 * IMAGE_PX + GAP_PX
    marked = pair[:, IMAGE_PX + GAP_PX :]
    column = marked[:, IMAGE_PX // 4 - 1 : IMAGE_PX // 4 + 2]
    assert np.abs(column - np.array(MARK)).sum(axis=2).min() < 160
    assert np.abs(pair[:, :IMAGE_PX] - 127).max() < 12  # the plain side has no mark
