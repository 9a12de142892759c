"""LDAM with deferred weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from medvit.learn.longtail.class_weights import effective_number_weights
from medvit.learn.longtail.margins import MarginLoss

COUNTS = torch.tensor([160.0, 10.0])
COSINES = torch.tensor([[0.9, -0.2], [0.1, 0.4], [0.3, 0.2]])
TARGETS = torch.tensor([0, 1, 1])


def test_margins_are_those_of_the_formula() -> None:
    torch.testing.assert_close(MarginLoss(COUNTS).margins, torch.tensor([0.25, 0.5]))


def test_the_true_cosine_is_lowered_by_its_margin() -> None:
    lowered = COSINES.clone()
    for row, target in enumerate(TARGETS.tolist()):
        lowered[row, target] -= [0.25, 0.5][target]
    expected = F.cross_entropy(30 * lowered, TARGETS)
    torch.testing.assert_close(MarginLoss(COUNTS)(COSINES, TARGETS), expected)


def test_weights_come_in_after_four_fifths_and_go_when_it_resumes_before() -> None:
    loss = MarginLoss(COUNTS)
    plain = loss(COSINES, TARGETS)
    loss.set_share_done(0.8)
    torch.testing.assert_close(loss.weights, effective_number_weights(COUNTS))
    assert float(loss(COSINES, TARGETS)) != pytest.approx(float(plain))
    loss.set_share_done(0.79)
    torch.testing.assert_close(loss(COSINES, TARGETS), plain)


def test_plain_logits_are_refused_with_the_value() -> None:
    with pytest.raises(ValueError, match=r"got a logit of 3\.5"):
        MarginLoss(COUNTS)(torch.tensor([[3.5, 0.0]]), torch.tensor([0]))
