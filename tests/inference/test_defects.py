"""Judging an image: probabilities, map and box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from medvit.errors import ModelError
from medvit.inference.defects import box_of, heat_of, judge_image
from medvit.models.heads.classify import DefectClassifier
from medvit.models.vit import Vit, VitSettings
from medvit.models.weights import Architecture, ModelCard


class BlockMeans(Vit):
    """Means of blocks of 8 pixels, above and below 0.5: a map that can be planned."""

    def __init__(self) -> None:
        super().__init__(VitSettings(embed_dim=2, num_heads=1, depth=1, stem_channels=(1, 1)))

    def embed(self, x: Tensor) -> Tensor:
        means = nn.functional.avg_pool2d(x, 8) - 0.5 if x.any() else x[:, :, ::8, ::8]
        return torch.cat([means.clamp(min=0), (-means).clamp(min=0)], dim=1)

    def stages(self, patches: Tensor) -> list[Tensor]:
        return [patches]


def planned(classes: tuple[str, ...] = ("bright", "dark")) -> tuple[DefectClassifier, ModelCard]:
    model = DefectClassifier(BlockMeans(), classes=2).eval()
    assert isinstance(model.head, nn.Linear)
    nn.init.eye_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    card = ModelCard(
        name="planned",
        version="1",
        task="defect",
        architecture=Architecture(builder="defect_classifier"),
        classes=classes,
        preprocessing={"side_px": 64},
        calibration={"temperature": 0.01},
    )
    return model, card


def square_image(height: int, width: int, *, value: float) -> NDArray[np.float32]:
    """Return a grey image whose second quarter of rows and last of columns is a square."""
    pixels = np.full((height, width, 3), 0.5, dtype=np.float32)
    pixels[height // 4 : height // 2, 3 * width // 4 :] = value
    return pixels


@pytest.mark.parametrize(("value", "label"), [(1.0, "bright"), (0.0, "dark")])
def test_a_planted_square_is_named_and_found(value: float, label: str) -> None:
    model, card = planned()
    judged = judge_image(square_image(128, 256, value=value), model, card)
    assert judged.label == label
    assert judged.probability == judged.probabilities[label] > 0.9
    assert judged.heat.shape == (128, 256)
    assert judged.box is not None
    outside = np.subtract((192, 32, -256, -64), np.multiply(judged.box, (1, 1, -1, -1)))
    assert outside.min() >= 0
    assert (outside <= (64, 32, 0, 32)).all()  # two patches of 32 x 16 pixels
    strongest = judged.heat >= np.quantile(judged.heat, 0.99)
    assert strongest[32:64, 192:].sum() == strongest.sum()


def test_probabilities_sum_to_one_and_heat_stays_within_bounds() -> None:
    model, card = planned()
    pixels = np.random.default_rng(0).random((40, 30, 3), dtype=np.float32)
    judged = judge_image(pixels, model, card)
    assert sum(judged.probabilities.values()) == pytest.approx(1.0)
    assert judged.heat.dtype == np.float32
    assert 0.0 <= judged.heat.min() <= judged.heat.max() <= 1.0


def test_a_flat_image_has_no_box() -> None:
    model, card = planned()
    judged = judge_image(np.full((64, 64, 3), 0.5, dtype=np.float32), model, card)
    assert judged.box is None
    assert not judged.heat.any()


def test_a_card_with_other_classes_is_refused_with_both_counts() -> None:
    model, card = planned(classes=("a", "b", "c"))
    with pytest.raises(ModelError, match="3 classes, got DefectClassifier"):
        judge_image(square_image(64, 64, value=1.0), model, card)


def test_a_model_that_is_no_classifier_is_refused() -> None:
    with pytest.raises(ModelError, match="got Identity"):
        judge_image(square_image(64, 64, value=1.0), nn.Identity(), planned()[1])


def test_heat_leaves_out_what_speaks_against() -> None:
    evidence = np.array([[4.0, 0.0, 0.0, 0.0, -4.0]], dtype=np.float32)
    heat = heat_of(evidence, height=1, width=5)
    assert heat[0, 0] == 1.0
    assert heat[0, 4] < 0.02


def test_heat_is_the_root_of_the_share() -> None:
    evidence = np.zeros((1, 21), dtype=np.float32)
    evidence[0, 2], evidence[0, 18] = 4.0, 1.0  # too far apart for the blur to mix them
    heat = heat_of(evidence, height=1, width=21)
    assert heat[0, 2] == 1.0
    assert heat[0, 18] == pytest.approx(0.5, abs=1e-3)


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    top=st.integers(0, 19),
    left=st.integers(0, 19),
)
def test_the_box_of_a_rectangle_is_the_rectangle(
    height: int, width: int, top: int, left: int
) -> None:
    heat = np.zeros((40, 40), dtype=np.float32)
    heat[top : top + height, left : left + width] = 0.8
    assert box_of(heat) == (left, top, left + width, top + height)


def test_the_box_holds_the_largest_region_not_the_strongest() -> None:
    heat = np.zeros((5, 5), dtype=np.float32)
    heat[0, 0] = 1.0
    heat[2:4, 2:5] = 0.6
    assert box_of(heat) == (2, 2, 5, 4)
