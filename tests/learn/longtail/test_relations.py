"""Published relations between corrections of a tail, on a small problem of many classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.longtail.class_weights import inverse_frequency_weights
from medvit.learn.longtail.losses import build_loss

CLASSES, MODES, DIMENSIONS = 20, 6, 16
COUNTS = [int(300 * 100 ** (-place / (CLASSES - 1))) for place in range(CLASSES)]
CENTRES = torch.randn(CLASSES, MODES, DIMENSIONS, generator=torch.Generator().manual_seed(9))

Loss = Callable[[Tensor, Tensor], Tensor]


def drawn(counts: list[int], *, seed: int) -> tuple[Tensor, Tensor]:
    """Draw classes of several modes: of a rare class some are never seen."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(CLASSES), torch.tensor(counts))
    modes = torch.randint(MODES, (len(labels),), generator=rng)
    noise = 0.7 * torch.randn(len(labels), DIMENSIONS, generator=rng)
    return CENTRES[labels, modes] + noise, labels


def balanced_accuracy(loss: Loss) -> float:
    """Train a small network with SGD as the papers do, and score it on equal classes."""
    x, y = drawn(COUNTS, seed=1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(DIMENSIONS, 96), nn.ReLU(), nn.Linear(96, CLASSES))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.15, momentum=0.9)
    order = torch.Generator().manual_seed(0)
    for _ in range(20):
        for batch in torch.randperm(len(y), generator=order).split(64):  # type: ignore[no-untyped-call]
            optimiser.zero_grad()
            loss(net(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    x_test, y_test = drawn([60] * CLASSES, seed=2)
    with torch.no_grad():
        return float((net(x_test).argmax(1) == y_test).float().mean())


def test_logit_adjustment_beats_plain_which_beats_inverse_frequency() -> None:
    # Menon 2020 and Zhang 2021, CIFAR-100-LT: 44.1, 38.3, 32.3. Here about 0.59, 0.53, 0.35.
    counts = torch.tensor(COUNTS, dtype=torch.float32)
    weights = inverse_frequency_weights(counts)
    plain = balanced_accuracy(F.cross_entropy)
    adjusted = balanced_accuracy(build_loss("logit_adjustment", counts))
    weighted = balanced_accuracy(lambda scores, y: F.cross_entropy(scores, y, weight=weights))
    assert adjusted > plain + 0.03
    assert weighted < plain - 0.05
