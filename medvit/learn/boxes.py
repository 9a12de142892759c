"""What a detector of boxes is trained for."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor, nn

from medvit.data.box_images import BoxBatch
from medvit.learn.box_loss import box_loss
from medvit.learn.box_targets import box_targets
from medvit.learn.tuning.frozen import rest_frozen
from medvit.models.heads.boxes import BoxDetector


class BoxObjective(nn.Module):
    """The losses of a batch of images with their boxes; parts that do not learn rest.

    Args:
        detector: The network.
        lr: Peak learning rate of pyramid and head.
        backbone_lr: Of the backbone.
    """

    def __init__(self, detector: BoxDetector, *, lr: float, backbone_lr: float) -> None:
        super().__init__()
        self.detector = detector
        self.lr = lr
        self.backbone_lr = backbone_lr
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

    def parameter_groups(self, *, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups for the optimiser: vectors are not decayed."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self.detector.named_parameters():
            if parameter.requires_grad:
                lr = self.backbone_lr if name.startswith("backbone.") else self.lr
                groups[lr, weight_decay if parameter.ndim > 1 else 0.0].append(parameter)
        return [
            {"params": parameters, "lr": lr, "weight_decay": decay}
            for (lr, decay), parameters in groups.items()
        ]
