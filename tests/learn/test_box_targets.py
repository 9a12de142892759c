from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from medvit.learn.box_targets import GROUND, answering, box_targets
from medvit.models.heads.boxes import boxes_around, grid_points

CPU = torch.device("cpu")
SIDE_PX = 64


def locations() -> tuple[Tensor, Tensor]:
    """Return points and strides of three levels over a square of 64 px."""
    points, strides = [], []
    for stride in (8, 16, 32):
        found = grid_points(SIDE_PX // stride, SIDE_PX // stride, stride, device=CPU)
        points.append(found)
        strides.append(torch.full((len(found),), float(stride)))
    return torch.cat(points), torch.cat(strides)


POINTS, STRIDES = locations()


def slow_answering(box: list[float]) -> list[bool]:
    """Return which locations answer for a box, rule by rule, one location at a time."""
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    near, suits, away = [], [], []
    for (x, y), stride in zip(POINTS.tolist(), STRIDES.tolist(), strict=True):
        reach = [x - box[0], y - box[1], box[2] - x, box[3] - y]
        away.append(max(abs(x - middle[0]), abs(y - middle[1])))
        near.append(min(reach) > 0 and away[-1] < 1.5 * stride)
        low, high = {8: (0, 64), 16: (64, 128), 32: (128, math.inf)}[int(stride)]
        suits.append(near[-1] and low <= max(reach) < high)
    if any(suits):
        return suits
    if any(near):
        return near
    nearest = min(a for a, s in zip(away, STRIDES.tolist(), strict=True) if s == 8)
    return [s == 8 and a == nearest for a, s in zip(away, STRIDES.tolist(), strict=True)]


boxes = st.tuples(*[st.integers(0, 56)] * 2, *[st.integers(1, 63)] * 2).map(
    lambda b: [float(b[0]), float(b[1]), float(min(64, b[0] + b[2])), float(min(64, b[1] + b[3]))]
)


@given(boxes)
def test_locations_answer_as_the_slow_reference_has_it(box: list[float]) -> None:
    found = answering(torch.tensor([box]), points=POINTS, strides=STRIDES)[:, 0]
    assert found.tolist() == slow_answering(box)
    assert found.any()  # a box is never lost


@given(st.lists(boxes, min_size=1, max_size=4))
def test_what_is_encoded_decodes_to_the_boxes(drawn: list[list[float]]) -> None:
    labels = torch.arange(len(drawn))
    targets = box_targets([torch.tensor(drawn)], [labels], points=POINTS, strides=STRIDES)
    is_box = targets.labels[0] != GROUND
    own, points = targets.boxes[0][is_box], POINTS[is_box]
    reaches = torch.cat([points - own[:, :2], own[:, 2:] - points], dim=1)
    assert (reaches >= 0.5).all()
    assert torch.equal(boxes_around(points, reaches), own)
    for box, label, point in zip(own, targets.labels[0][is_box], points, strict=True):
        true = torch.tensor(drawn[int(label)])
        inside = (point >= true[:2] + 0.5).all() and (point <= true[2:] - 0.5).all()
        assert torch.equal(box, true) or not inside  # enlarged only where it must be
    assert ((targets.centre[0][is_box] >= 0) & (targets.centre[0][is_box] <= 1)).all()


def test_of_two_boxes_a_location_takes_the_smaller() -> None:
    two = torch.tensor([[8.0, 8.0, 56.0, 56.0], [22.0, 22.0, 34.0, 34.0]])
    targets = box_targets([two], [torch.tensor([5, 7])], points=POINTS, strides=STRIDES)
    at = {tuple(p): int(t) for p, t in zip(POINTS.tolist()[:64], targets.labels[0], strict=False)}
    assert at[28.0, 28.0] == 7  # in both
    assert at[36.0, 36.0] == 5
    assert at[20.0, 36.0] == GROUND  # 12 px from the middle of the larger: not nearer than 1.5 * 8


def test_a_scratch_finer_than_a_cell_is_learnt() -> None:
    scratch = torch.tensor([[30.0, 2.0, 32.0, 62.0]])  # between the columns at 28 and 36
    targets = box_targets([scratch], [torch.tensor([0])], points=POINTS, strides=STRIDES)
    chosen = targets.labels[0] == 0
    assert {*POINTS[chosen][:, 0].tolist()} == {28.0}
    assert targets.boxes[0][chosen][0].tolist() == [27.5, 2.0, 32.0, 62.0]


def test_an_image_without_boxes_is_all_ground() -> None:
    targets = box_targets(
        [torch.empty(0, 4)], [torch.empty(0, dtype=torch.long)], points=POINTS, strides=STRIDES
    )
    assert (targets.labels == GROUND).all()
    assert float(targets.centre.sum()) == 0


def test_centreness_is_one_in_the_middle_and_by_hand_elsewhere() -> None:
    box = torch.tensor([[16.0, 20.0, 40.0, 36.0]])
    targets = box_targets([box], [torch.tensor([0])], points=POINTS, strides=STRIDES)
    at = {tuple(p): float(c) for p, c in zip(POINTS.tolist()[:64], targets.centre[0], strict=False)}
    assert at[28.0, 28.0] == 1
    assert at[20.0, 28.0] == pytest.approx(math.sqrt(4 / 20))  # 4 px to the left edge, 20 right
    assert at[20.0, 20.0] == 0  # on the edge is outside
