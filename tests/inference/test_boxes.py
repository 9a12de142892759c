from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medvit.data.boxes.labelled import LabelledBoxes, PredictedBox, TrueBox
from medvit.errors import ModelError
from medvit.inference.boxes import ScoredBoxes, above, boxes_of_image, detect, one_each
from medvit.metrics.average_precision import coco_ap, mean_ap, score_class
from medvit.metrics.detection_matching import match_coco
from medvit.models.builders import defect_detector
from medvit.models.heads.boxes import BoxMaps
from medvit.models.weights import Architecture, ModelCard
from tests.learn.test_box_loss import perfect_maps


class Told(nn.Module):
    """A network that says what it was told."""

    def __init__(self, maps: BoxMaps) -> None:
        super().__init__()
        self.maps = maps
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> BoxMaps:
        del x
        return self.maps


BOXES = torch.tensor([[4.0, 4.0, 28.0, 28.0], [30.0, 30.0, 62.0, 60.0], [2.0, 40.0, 6.0, 62.0]])
LABELS = torch.tensor([0, 1, 0])


def card(classes: tuple[str, ...] = ("dent", "scratch"), **how: object) -> ModelCard:
    return ModelCard(
        name="boxes",
        version="1",
        task="defect",
        architecture=Architecture(builder="defect_detector"),
        classes=classes,
        preprocessing={"side_px": 64, "image_px": 64, "channels": "grey", **how},
    )


def test_a_perfect_map_gives_average_precision_1() -> None:
    maps = perfect_maps(BOXES, LABELS, classes=2)
    found = detect(Told(maps), torch.zeros(1, 1, 64, 64))[0]  # type: ignore[arg-type]
    sized = [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in BOXES.tolist()]
    truth = LabelledBoxes(
        "told",
        ("a",),
        ("dent", "scratch"),
        tuple(TrueBox(0, int(n), box, 1.0) for n, box in zip(LABELS, sized, strict=True)),
        {},
        {},
    )
    said = [
        PredictedBox(0, int(label), (x0, y0, x1 - x0, y1 - y0), float(score))
        for (x0, y0, x1, y1), score, label in zip(
            found.boxes.tolist(), found.scores, found.labels, strict=True
        )
    ]
    assert len(said) == 3
    scores = [score_class(each, coco_ap) for each in match_coco(truth, said)]
    assert mean_ap(scores).tolist() == [1.0] * 10


def test_numbers_that_are_not_finite_are_refused() -> None:
    maps = perfect_maps(BOXES, LABELS, classes=2)
    maps.labels[0, 3, 1] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        detect(Told(maps), torch.zeros(1, 1, 64, 64))  # type: ignore[arg-type]


def test_boxes_of_two_classes_do_not_suppress_each_other() -> None:
    same = np.tile([[0.0, 0.0, 8.0, 8.0]], (3, 1))
    found = one_each(ScoredBoxes(same, np.array([0.5, 0.9, 0.7]), np.array([0, 0, 1])))
    assert found.scores.tolist() == [0.9, 0.7]
    assert found.labels.tolist() == [0, 1]


def test_no_more_boxes_are_given_than_asked_for_and_the_best_ones() -> None:
    apart = np.array([[10.0 * n, 0, 10.0 * n + 5, 5] for n in range(5)])
    scores = np.array([0.1, 0.5, 0.3, 0.9, 0.7])
    found = one_each(ScoredBoxes(apart, scores, np.zeros(5, dtype=np.intp)), most=2)
    assert found.scores.tolist() == [0.9, 0.7]


def test_each_class_has_its_own_threshold() -> None:
    found = ScoredBoxes(np.zeros((3, 4)), np.array([0.6, 0.5, 0.04]), np.array([0, 1, 2]))
    kept = above(found, ("dent", "scratch", "stain"), {"dent": 0.6, "scratch": 0.51})
    assert kept.labels.tolist() == [0]


@pytest.mark.parametrize("size", [(40, 100), (100, 40), (64, 64), (16, 200), (8, 8)])
def test_boxes_lie_inside_an_image_of_any_form(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = defect_detector(backbone="cnn_small", classes=2, width=8).eval()
    pixels = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    found = boxes_of_image(pixels, net, card(), least=0.0)
    assert len(found)
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= [size[1], size[0]]).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (np.diff(found.scores) <= 0).all()


def test_a_card_of_another_model_is_refused() -> None:
    net = defect_detector(backbone="cnn_small", classes=3, width=8).eval()
    pixels = np.zeros((32, 32, 3), np.float32)
    with pytest.raises(ModelError, match="the card's 2 classes and its side_px, got 3 classes"):
        boxes_of_image(pixels, net, card())
