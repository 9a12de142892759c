"""What a detector of boxes is trained for."""

from __future__ import annotations

from torch import Tensor, nn

from medvit.data.box_images import BoxBatch
from medvit.learn.box_loss import box_loss
from medvit.learn.box_targets import box_targets
from medvit.learn.tuning.frozen import rest_frozen
from medvit.models.heads.boxes import BoxDetector


class BoxObjective(nn.Module):
    """The losses of a batch of images with their boxes; parts that do not learn rest."""

    def __init__(self, detector: BoxDetector) -> None:
        super().__init__()
        self.detector = detector
        self.train()  # the training loop takes modes as it finds them

    def forward(self, batch: BoxBatch) -> dict[str, Tensor]:
        """Return the `loss` and its parts, scalars."""
        maps = self.detector(batch.pixels)
        targets = box_targets(batch.boxes, batch.labels, points=maps.points, strides=maps.strides)
        return box_loss(maps, targets)

    def train(self, mode: bool = True) -> BoxObjective:
        """Set the mode; what does not learn stays in evaluation mode."""
        super().train(mode)
        if mode:
            rest_frozen(self)
        return self
