"""Learning one label per image: the objective, prediction, and calibration."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.data.surface import as_input

LOG_TEMPERATURE_BOUND = 4.0


class ClassifyObjective(nn.Module):
    """The loss of a batch of images and targets under a network."""

    def __init__(self, net: nn.Module, *, loss: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.loss = loss

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of images (n, 1, h, w) and their targets."""
        images, targets = batch
        loss: Tensor = self.loss(self.net(images), targets)
        return loss


@torch.inference_mode()
def predict_logits(net: nn.Module, images: NDArray[np.uint8], *, batch_size: int = 32) -> Tensor:
    """Return logits (n, k) of grey images (n, h, w), in evaluation mode and fp32.

    Raises:
        ValueError: If there is no image.
    """
    if len(images) == 0:
        msg = "predicting needs at least one image, got 0"
        raise ValueError(msg)
    net.eval()
    device = next(net.parameters()).device
    parts = []
    for start in range(0, len(images), batch_size):
        batch = torch.stack([as_input(image) for image in images[start : start + batch_size]])
        parts.append(net(batch.to(device)).float().cpu())
    return torch.cat(parts)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature that minimises the loss of held-out logits / temperature.

    Guo 2017, arXiv 1706.04599: one number, so the order of classes never changes. It
    is kept within exp(-4) and exp(4): images that are all right have no minimum.

    Args:
        logits: Shape (n, k), from images not trained on.
        labels: Class indices (n,).
    """
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    scores = logits.double()
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        bounded = log_t.clamp(-LOG_TEMPERATURE_BOUND, LOG_TEMPERATURE_BOUND)
        loss = F.cross_entropy(scores / bounded.exp(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    found = float(log_t.detach())
    return math.exp(min(LOG_TEMPERATURE_BOUND, max(-LOG_TEMPERATURE_BOUND, found)))
