"""What the nodule detector is trained for."""

from __future__ import annotations

from torch import Tensor, nn

from medvit.data.nodule_crops import NoduleBatch
from medvit.learn.centre_loss import centre_loss, centre_targets
from medvit.models.heads.centre import NoduleDetector


class NoduleObjective(nn.Module):
    """The centre-map loss of a batch of crops, at whatever spacing the batch has."""

    def __init__(self, detector: NoduleDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: NoduleBatch) -> dict[str, Tensor]:
        """Return the `loss` and its parts, scalars."""
        maps = self.detector(batch.pixels)
        depth, height, width = maps.heat.shape[2:]
        targets = centre_targets(
            batch.nodules,
            batch.ignored,
            grid=(depth, height, width),
            stride=self.detector.stride,
            spacing_mm=batch.spacing_mm,
            device=maps.heat.device,
        )
        return centre_loss(maps, targets)
