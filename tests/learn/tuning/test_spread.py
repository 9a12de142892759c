"""Labels spread over unlabelled images, then a linear head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medvit.learn.pretraining.payoff import linear_probe
from medvit.learn.tuning.spread import MOST_IMAGES, PENALTY_FEW, spread_head

NAMES = ("left", "right")


def moons(n: int) -> tuple[Tensor, Tensor]:
    """Return two long parallel strips of points about (0, 0), and which strip each is on."""
    along = torch.linspace(-5, 5, n)
    strips = [torch.stack([along, torch.full((n,), y), torch.full((n,), 6.0)], 1) for y in (-1, 1)]
    return torch.cat(strips), torch.tensor([0, 1]).repeat_interleave(n)


def test_labels_follow_the_strips_where_two_labels_alone_mislead() -> None:
    points, truth = moons(60)
    labelled = (24, 95)  # left of the middle on one strip, right of it on the other
    given = torch.tensor(labelled)
    rest = torch.tensor([place for place in range(120) if place not in labelled])
    head, found = spread_head(points[given], truth[given], points[rest], names=NAMES)
    assert torch.equal(found, truth[rest])
    alone, none = spread_head(points[given], truth[given], points[:0], names=NAMES)
    with torch.no_grad():
        spread = float((head(points).argmax(1) == truth).float().mean())
        plain = float((alone(points).argmax(1) == truth).float().mean())
    assert spread == 1.0
    assert plain < 0.7
    assert len(none) == 0


def test_without_unlabelled_images_the_head_is_the_linear_probe() -> None:
    points, truth = moons(15)
    head, _ = spread_head(points, truth, points[:0], names=NAMES)
    rule = linear_probe(points, truth, classes=2, penalty=PENALTY_FEW)
    with torch.no_grad():
        torch.testing.assert_close(head(points), rule(points).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("labels", "unlabelled", "words"),
    [
        ([0, 0], 3, "none of right"),
        ([0, 1], MOST_IMAGES, f"at most {MOST_IMAGES} images, all pairs compared, got 6002"),
    ],
)
def test_what_cannot_be_spread_is_named(labels: list[int], unlabelled: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        spread_head(torch.rand(2, 3), torch.tensor(labels), torch.rand(unlabelled, 3), names=NAMES)
