"""LDAM: rare classes get a wider margin, and weights of their own at the end of training.

Cao 2019, arXiv 1906.07413.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.longtail.class_weights import check_counts, effective_number_weights

WIDEST_MARGIN = 0.5
SCALE = 30.0
DEFERRED_UNTIL = 0.8
"""Share of the epochs after which the weights come in."""


class MarginLoss(nn.Module):
    """Cross entropy of cosines, the true one lowered by a margin, all scaled.

    The margin of a class is `0.5 * (n_min / n)^(1/4)`. Plain logits have no scale that a
    margin could be measured in: they are refused.

    Args:
        counts: Images a class, shape (k,).

    Raises:
        ValueError: If a class has no image.
    """

    margins: Tensor
    weights: Tensor

    def __init__(self, counts: Tensor) -> None:
        super().__init__()
        check_counts(counts)
        n = counts.double()
        margins = WIDEST_MARGIN * (n.min() / n) ** 0.25
        self.register_buffer("margins", margins.float())
        self.register_buffer("weights", torch.ones(len(n)))
        self._later = effective_number_weights(counts)

    def set_share_done(self, share: float) -> None:
        """Say which share of the epochs is over; from 0.8 on classes are weighted."""
        weights = self._later if share >= DEFERRED_UNTIL else torch.ones_like(self._later)
        self.weights.copy_(weights)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted mean loss.

        Args:
            logits: Cosines (n, k): of a `CosineHead` with scale 1.
            targets: Class indices (n,), or class probabilities (n, k).

        Raises:
            ValueError: If a logit is no cosine.
        """
        if bool((logits.detach().abs() > 1.001).any()):
            worst = float(logits.detach().abs().max())
            msg = f"ldam_drw needs the cosines of a normalised head, got a logit of {worst:.3g}"
            raise ValueError(msg)
        shares = targets if targets.ndim == 2 else F.one_hot(targets, logits.shape[1])
        shares = shares.to(logits)
        log_p = F.log_softmax(SCALE * (logits - shares * self.margins), dim=1)
        counted = shares * self.weights
        return -(counted * log_p).sum() / counted.sum()


class DeferredWeights(Callback):
    """Tells a margin loss, at the start of each epoch, how much of the training is over."""

    def __init__(self, loss: MarginLoss) -> None:
        self.loss = loss

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the weights of the epoch that begins; the same after a resumption."""
        del pl_module
        self.loss.set_share_done(trainer.current_epoch / max(1, trainer.max_epochs or 1))

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the epoch says it all."""
        return {}
