"""A linear head on the mean patch token, and the class maps that add up to it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DefectClassifier(nn.Module):
    """A backbone and a linear head on the mean of its token grid.

    The backbone normalises every token before the mean, so the head may be applied
    to each token alone: the mean of the class maps is the logit, exactly. That makes
    the map a class activation map (Zhou 2016, arXiv 1512.04150) without approximation.
    """

    def __init__(self, backbone: nn.Module, *, channels: int, classes: int) -> None:
        super().__init__()
        if classes < 2:
            msg = f"a classifier needs at least 2 classes, got {classes}"
            raise ValueError(msg)
        self.backbone = backbone
        self.head = nn.Linear(channels, classes)

    def class_maps(self, x: Tensor) -> Tensor:
        """Return what each patch says for each class.

        Args:
            x: Images, shape (n, 1, height, width), values 0..1.

        Returns:
            Logits per patch, shape (n, k, h, w); their mean over (h, w) is `forward`.
        """
        tokens = self.backbone(x)  # (n, c, h, w)
        maps = torch.einsum("nchw,kc->nkhw", tokens, self.head.weight)
        return maps + self.head.bias[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, k), of images (n, 1, height, width) in 0..1."""
        logits: Tensor = self.head(self.backbone(x).mean(dim=(2, 3)))
        return logits
