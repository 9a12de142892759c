"""Made steel: every class drawn, boxes around what was drawn, files that readers take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvit.data.manifest import read_manifest
from medvit.data.surface_phantom import LABELS, make_surface, write_surfaces


def rng(number: int) -> np.random.Generator:
    return np.random.default_rng((5, number))


@pytest.mark.parametrize("number", range(21))
def test_every_image_has_a_box_inside_it(number: int) -> None:
    surface = make_surface(rng(number), number=number)
    assert surface.label == LABELS[number % 7]
    assert surface.boxes
    for x_min, y_min, x_max, y_max in surface.boxes:
        assert 0 <= x_min < x_max <= 128
        assert 0 <= y_min < y_max <= 128


@pytest.mark.parametrize("label", ["iron_sheet_ash", "slag_inclusion", "surface_scratch"])
def test_a_dark_defect_is_darker_in_its_boxes(label: str) -> None:
    surface = make_surface(rng(1), number=LABELS.index(label))
    inside = np.zeros(surface.pixels.shape, bool)
    for x_min, y_min, x_max, y_max in surface.boxes:
        inside[y_min:y_max, x_min:x_max] = True
    assert surface.pixels[inside].mean() < surface.pixels[~inside].mean() - 8


def test_the_same_generator_makes_the_same_image() -> None:
    one, two = (make_surface(rng(3), number=3) for _ in range(2))
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.boxes == two.boxes


def test_files_agree_with_what_was_made(tmp_path: Path) -> None:
    surfaces = [make_surface(rng(n), number=n) for n in range(35)]
    write_surfaces(tmp_path, surfaces, seed=5)
    manifest = read_manifest(tmp_path / "manifest.csv")
    assert [row.label for row in manifest.rows] == [each.label for each in surfaces]
    assert {row.split for row in manifest.rows} == {"train", "val", "test"}
    assert len({row.group for row in manifest.rows}) == 35
    for row, surface in zip(manifest.rows, surfaces, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / row.path)), surface.pixels)


def test_coco_boxes_are_corner_and_size(tmp_path: Path) -> None:
    surface = make_surface(rng(6), number=6)
    write_surfaces(tmp_path, [surface], seed=5)
    coco = json.loads((tmp_path / "coco.json").read_text())
    x_min, y_min, x_max, y_max = surface.boxes[0]
    first = coco["annotations"][0]
    assert first["bbox"] == [x_min, y_min, x_max - x_min, y_max - y_min]
    assert coco["categories"][first["category_id"] - 1]["name"] == "surface_scratch"
    assert coco["images"][0]["file_name"] == "images/surface_scratch/00001.png"
