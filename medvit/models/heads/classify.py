"""Linear heads on the mean of an encoder's features, for images and for volumes."""

from __future__ import annotations

from torch import Tensor, nn

from medvit.models.backbone import Backbone3d
from medvit.models.vit import Vit


class DefectClassifier(nn.Module):
    """A backbone and a linear head on the mean of its token grid."""

    def __init__(self, backbone: Vit, *, classes: int) -> None:
        super().__init__()
        _check_classes(classes)
        self.backbone = backbone
        self.head = nn.Linear(backbone.out_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, k), of images (n, 1, height, width) in 0..1."""
        return self.judge(self.backbone.embed(x))

    def judge(self, patches: Tensor) -> Tensor:
        """Return logits, shape (n, k), of embedded patches (n, c, h, w)."""
        logits: Tensor = self.head(self.backbone.encode(patches).mean(dim=(2, 3)))
        return logits


class VolumeClassifier(nn.Module):
    """A 3D backbone and a linear head on the mean of its coarsest map.

    Args:
        backbone: Encoder of volumes.
        classes: Number of outputs.
    """

    def __init__(self, backbone: Backbone3d, *, classes: int) -> None:
        super().__init__()
        _check_classes(classes)
        self.backbone = backbone
        self.norm = nn.LayerNorm(backbone.widths[-1])
        self.head = nn.Linear(backbone.widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, k) of volumes (n, c, z, y, x)."""
        coarsest = self.backbone(x)[-1]
        logits: Tensor = self.head(self.norm(coarsest.mean(dim=(2, 3, 4))))
        return logits


def _check_classes(classes: int) -> None:
    if classes < 2:
        msg = f"a classifier needs at least 2 classes, got {classes}"
        raise ValueError(msg)
