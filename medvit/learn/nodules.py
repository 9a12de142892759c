"""What the nodule detector is trained for."""

from __future__ import annotations

from torch import Tensor, nn

from medvit.learn.centre_loss import centre_loss, centre_targets
from medvit.models.heads.centre import NoduleDetector

Batch = tuple[Tensor, list[Tensor], list[Tensor]]


class NoduleObjective(nn.Module):
    """The centre-map loss of a batch of crops.

    Args:
        spacing_mm: Side of a voxel of the crops.
    """

    def __init__(self, detector: NoduleDetector, *, spacing_mm: float) -> None:
        super().__init__()
        self.detector = detector
        self.spacing_mm = spacing_mm

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of (pixels, nodules, ignored places), a scalar."""
        x, nodules, ignored = batch
        maps = self.detector(x)
        depth, height, width = maps.heat.shape[2:]
        targets = centre_targets(
            nodules,
            ignored,
            grid=(depth, height, width),
            stride=self.detector.stride,
            spacing_mm=self.spacing_mm,
        )
        return centre_loss(maps, targets)["loss"]
