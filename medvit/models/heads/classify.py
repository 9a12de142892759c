"""A linear head on the mean patch token."""

from __future__ import annotations

from torch import Tensor, nn

from medvit.models.vit import Vit


class DefectClassifier(nn.Module):
    """A backbone and a linear head on the mean of its token grid."""

    def __init__(self, backbone: Vit, *, classes: int) -> None:
        super().__init__()
        if classes < 2:
            msg = f"a classifier needs at least 2 classes, got {classes}"
            raise ValueError(msg)
        self.backbone = backbone
        self.head = nn.Linear(backbone.out_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, k), of images (n, 1, height, width) in 0..1."""
        return self.judge(self.backbone.embed(x))

    def judge(self, patches: Tensor) -> Tensor:
        """Return logits, shape (n, k), of embedded patches (n, c, h, w)."""
        logits: Tensor = self.head(self.backbone.encode(patches).mean(dim=(2, 3)))
        return logits
