from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medvit.data.box_images import BoxBatch
from medvit.learn.box_loss import box_loss, focal_loss, generalised_iou
from medvit.learn.box_targets import GROUND, box_targets
from medvit.learn.boxes import BoxObjective
from medvit.models.builders import defect_detector
from medvit.models.heads.boxes import BoxMaps, grid_points

Box = tuple[float, float, float, float]


def slow_giou(a: Box, b: Box) -> float:
    def area(box: Box) -> float:
        return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

    inner = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    hull = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    union = area(a) + area(b) - inner
    return inner / union - (hull - union) / hull


def slow_focal(logits: np.ndarray, targets: np.ndarray) -> float:
    total = 0.0
    for logit, target in zip(logits.ravel(), targets.ravel(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        if target:
            total += -0.25 * (1 - p) ** 2 * math.log(p)
        else:
            total += -0.75 * p**2 * math.log(1 - p)
    return total


corner = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)


@given(corner, corner)
def test_giou_equals_the_slow_reference(a: Box, b: Box) -> None:
    found = float(generalised_iou(torch.tensor(a), torch.tensor(b)))
    assert found == pytest.approx(slow_giou(a, b), abs=1e-5)
    assert (found == pytest.approx(1.0)) == (a == b)


@given(st.integers(0, 2**32 - 1))
def test_the_focal_loss_equals_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 3, (3, 4)), rng.integers(0, 2, (3, 4)).astype(float)
    found = focal_loss(torch.tensor(logits), torch.tensor(targets))
    assert float(found) == pytest.approx(slow_focal(logits, targets))


def perfect_maps(boxes: torch.Tensor, labels: torch.Tensor, *, classes: int) -> BoxMaps:
    """Return maps that say of every location what its target is."""
    points = torch.cat([grid_points(64 // s, 64 // s, s, device=boxes.device) for s in (8, 16)])
    strides = torch.cat([torch.full(((64 // s) ** 2,), float(s)) for s in (8, 16)])
    targets = box_targets([boxes], [labels], points=points, strides=strides)
    is_box = targets.labels != GROUND
    said = torch.full((1, len(points), classes), -20.0)
    said[is_box, targets.labels[is_box]] = 20.0
    reaches = torch.cat([points - targets.boxes[..., :2], targets.boxes[..., 2:] - points], dim=2)
    return BoxMaps(said, reaches.clamp(min=0.1), targets.centre.logit(1e-6), points, strides)


def test_a_perfect_map_has_hardly_any_loss_but_that_of_centreness() -> None:
    boxes = torch.tensor([[4.0, 4.0, 28.0, 28.0], [30.0, 30.0, 62.0, 60.0]])
    labels = torch.tensor([0, 1])
    maps = perfect_maps(boxes, labels, classes=2)
    targets = box_targets([boxes], [labels], points=maps.points, strides=maps.strides)
    found = {name: float(value) for name, value in box_loss(maps, targets).items()}
    assert found["label"] < 1e-6
    assert found["box"] == pytest.approx(0, abs=1e-5)
    # The entropy of the targets themselves stays.
    own = targets.centre[targets.labels != GROUND].double().clamp(1e-6, 1 - 1e-6)
    entropy = -(own * own.log() + (1 - own) * (1 - own).log()).mean()
    assert found["centre"] == pytest.approx(float(entropy), abs=1e-4)
    assert found["loss"] == pytest.approx(found["label"] + found["box"] + found["centre"])


def test_an_empty_image_has_a_finite_loss_and_gradient() -> None:
    torch.manual_seed(0)
    objective = BoxObjective(
        defect_detector(backbone="cnn_small", classes=2, width=8), lr=1e-3, backbone_lr=1e-4
    )
    nothing = BoxBatch(
        torch.rand(2, 1, 32, 32), [torch.empty(0, 4)] * 2, [torch.empty(0, dtype=torch.long)] * 2
    )
    found = objective(nothing)
    found["loss"].backward()
    assert {name: value.isfinite().item() for name, value in found.items()} == dict.fromkeys(
        ("label", "box", "centre", "loss"), True
    )
    assert float(found["box"].detach()) == 0
    grads = [p.grad for p in objective.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)


def test_groups_hold_every_parameter_once_at_its_rate() -> None:
    net = defect_detector(backbone="cnn_small", classes=2, width=8)
    groups = BoxObjective(net, lr=1e-3, backbone_lr=1e-4).parameter_groups(weight_decay=0.05)
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rate_of) == sum(len(group["params"]) for group in groups)
    for name, parameter in net.named_parameters():
        assert rate_of[id(parameter)] == (1e-4 if name.startswith("backbone.") else 1e-3)
    assert all(p.ndim <= 1 for g in groups if not g["weight_decay"] for p in g["params"])
