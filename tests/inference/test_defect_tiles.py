"""Large images under a classifier: tiles that speak for a defect, and boxes that are joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from medvit.data.surface import longest_side
from medvit.errors import ReadError
from medvit.inference.defect_tiles import TiledDefect, joined_defects, judge_tiles, needs_tiles
from medvit.inference.defects import Box
from medvit.models.card import read_card
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import Architecture, ModelCard
from medvit.registry.registry import find_model
from tests.inference.test_defects import BlockMeans

CLASSES = ("bright", "dark", "sound")
NONE = np.zeros(2, dtype=np.float32)


def planned(**preprocessing: object) -> tuple[DefectClassifier, ModelCard]:
    """Return a classifier that calls a tile sound whose mean is near to grey."""
    model = DefectClassifier(BlockMeans(), classes=3).eval()
    assert isinstance(model.head, nn.Linear)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        model.head.bias.copy_(torch.tensor([0.0, 0.0, 0.005]))
    card = ModelCard(
        name="planned",
        version="1",
        task="defect",
        architecture=Architecture(builder="defect_classifier"),
        classes=CLASSES,
        preprocessing={"side_px": 64, "image_px": 64, "sound_class": "sound", **preprocessing},
        calibration={"temperature": 0.001},
    )
    return model, card


def sheet(*squares: tuple[int, int, float]) -> NDArray[np.float32]:
    """Return a grey image (256, 320) with squares of 16 px at x, y of a shade."""
    pixels = np.full((256, 320, 3), 0.5, dtype=np.float32)
    for x, y, shade in squares:
        pixels[y : y + 16, x : x + 16] = shade
    return pixels


def test_each_defect_of_a_sheet_is_one_finding_at_its_place() -> None:
    model, card = planned()
    # The first lies within one tile, the second over the border of four.
    judged = judge_tiles(sheet((8, 8, 1.0), (152, 120, 0.0)), model, card)
    assert {each.label for each in judged.defects} == {"bright", "dark"}
    assert len(judged.defects) == 2
    for each in judged.defects:
        x, y = {"bright": (8, 8), "dark": (152, 120)}[each.label]
        x0, y0, x1, y1 = each.box
        # The map is made of patches of 8 px, and blurred by one.
        assert x - 12 <= x0 <= x + 4
        assert y - 12 <= y0 <= y + 4
        assert x + 12 <= x1 <= x + 28
        assert y + 12 <= y1 <= y + 28
    assert (judged.label, judged.probability) == (
        judged.defects[0].label,
        judged.defects[0].probability,
    )
    assert judged.probability > 0.99


def test_a_sheet_without_defect_is_as_sound_as_its_least_sound_tile() -> None:
    model, card = planned()
    judged = judge_tiles(sheet(), model, card)
    assert (judged.label, judged.defects) == ("sound", ())
    # exp(5) : exp(0) : exp(0), at a temperature of a thousandth.
    assert judged.probability == pytest.approx(np.exp(5) / (np.exp(5) + 2), rel=1e-4)
    strict = card.model_copy(update={"thresholds": {"bright": 1.01}})
    missed = judge_tiles(sheet((8, 8, 1.0)), model, strict)
    assert (missed.label, missed.defects) == ("sound", ())
    assert missed.probability < 0.01


def test_only_large_images_of_models_that_know_sound_surfaces_are_judged_in_tiles() -> None:
    _, card = planned()
    assert not needs_tiles(card, height=96, width=96)
    assert needs_tiles(card, height=64, width=97)
    for lacking in ({"sound_class": ""}, {"image_px": 0}):
        assert not needs_tiles(planned(**lacking)[1], height=4000, width=4000)
    old = card.model_copy(update={"preprocessing": {"side_px": 64}})
    assert not needs_tiles(old, height=4000, width=4000)
    shipped = read_card(find_model("steel-defects").folder)
    assert not needs_tiles(shipped, height=4000, width=4000)


def test_boxes_of_one_class_that_overlap_become_one() -> None:
    def told(label: str, probability: float, *box: int) -> TiledDefect:
        x0, y0, x1, y1 = box
        return TiledDefect(label, probability, (x0, y0, x1, y1), NONE)

    chain = [told("a", 0.6, 0, 0, 4, 4), told("a", 0.9, 6, 0, 9, 4), told("a", 0.7, 3, 1, 7, 9)]
    apart = [told("b", 0.8, 0, 0, 4, 4), told("a", 0.5, 9, 0, 12, 4)]  # a touch is no overlap
    found = [(each.label, each.probability, each.box) for each in joined_defects([*chain, *apart])]
    assert found == [
        ("a", 0.9, (0, 0, 9, 9)),
        ("b", 0.8, (0, 0, 4, 4)),
        ("a", 0.5, (9, 0, 12, 4)),
    ]


BOXES = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 9)] * 2)


@given(places=st.lists(BOXES, max_size=8), seed=st.integers(0, 99))
def test_joining_does_not_depend_on_the_order_of_tiles(
    places: list[tuple[int, int, int, int]], seed: int
) -> None:
    boxes: list[Box] = [(x, y, x + w, y + h) for x, y, w, h in places]
    spoken = [TiledDefect("a", 0.5, box, NONE) for box in boxes]
    shuffled = [spoken[at] for at in np.random.default_rng(seed).permutation(len(spoken))]
    one, two = ([each.box for each in joined_defects(given)] for given in (spoken, shuffled))
    assert one == two
    for box in boxes:
        assert any(np.all(np.multiply(np.subtract(box, each), (1, 1, -1, -1)) >= 0) for each in one)


def test_the_longest_side_is_read_from_headers(tmp_path: Path) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    Image.new("RGB", (20, 70)).save(tmp_path / "b.jpg")
    assert longest_side(tmp_path, ["a.png", "b.jpg"]) == 70
    assert longest_side(tmp_path, []) == 0
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(ReadError):
        longest_side(tmp_path, ["c.png"])
