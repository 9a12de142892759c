"""Heads on the mean of an encoder's features, for images and for volumes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medvit.models.backbone import Backbone2d, Backbone3d
from medvit.models.heads.kernel import KernelHead
from medvit.models.heads.novel import NovelHead
from medvit.models.heads.prototype import CacheHead, CosineHead, GrownHead


class DefectClassifier(nn.Module):
    """A backbone and a head on the mean of its grid of features.

    Args:
        backbone: Encoder of images.
        classes: Number of outputs.
        head: Anything that turns features (n, d) into logits and knows its `out_features`; a
            linear layer if not given.
    """

    def __init__(
        self, backbone: Backbone2d, *, classes: int, head: nn.Module | None = None
    ) -> None:
        super().__init__()
        _check_classes(classes)
        self.backbone = backbone
        self.head = head or nn.Linear(backbone.out_channels, classes)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return int(self.head.out_features)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, k), of images (n, c, height, width) in 0..1."""
        return self.judge(self.backbone.embed(x))

    def judge(self, patches: Tensor) -> Tensor:
        """Return logits, shape (n, k), of embedded patches (n, c, h, w)."""
        logits: Tensor = self.head(self.backbone.encode(patches).mean(dim=(2, 3)))
        return logits

    def judge_grid(self, grid: Tensor) -> Tensor:
        """Return logits, shape (n, k), of a grid that `backbone.evidence_grid` gave."""
        logits: Tensor = self.head(self.backbone.encode_grid(grid).mean(dim=(2, 3)))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Return what the head reads, shape (n, d), of images (n, c, height, width)."""
        return self.backbone(x).mean(dim=(2, 3))  # type: ignore[no-any-return]


def build_head(channels: int, *, classes: int, plan: dict[str, Any]) -> nn.Module:
    """Return a head as a model card describes it.

    Args:
        plan: `kind` is linear, cosine (with `scale` if fixed), kernel (with `keys`), cache
            (with `keys` and `base`), grown (with `added` and `base`) or novel (with `means`,
            `base` and, where fewer than channels, `directions`); `base` is a plan of its own.

    Raises:
        ValueError: If there is no such kind.
    """
    kind = plan.get("kind", "linear")
    if kind == "linear":
        return nn.Linear(channels, classes)
    if kind == "cosine":
        return CosineHead(channels, classes, scale=plan.get("scale"))
    if kind == "kernel":
        return KernelHead(channels, classes, keys=plan["keys"])
    base = plan.get("base", {})
    if kind == "cache":
        inner = build_head(channels, classes=classes, plan=base)
        return CacheHead(inner, channels, classes=classes, keys=plan["keys"])
    if kind == "grown":
        old = classes - int(plan["added"])
        inner = build_head(channels, classes=old, plan=base)
        return GrownHead(inner, channels, old=old, added=plan["added"])
    if kind == "novel":
        inner = build_head(channels, classes=classes - 1, plan=base)
        means, directions = plan["means"], plan.get("directions")
        return NovelHead(inner, channels, old=classes - 1, means=means, directions=directions)
    msg = f"a head is linear, cosine, kernel, cache, grown or novel, got {kind!r}"
    raise ValueError(msg)


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
