"""Networks by the names that configs and model cards use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from medvit.errors import ConfigError
from medvit.models.heads.centre import NoduleDetector
from medvit.models.heads.classify import DefectClassifier
from medvit.models.swin3d import Swin3d
from medvit.models.vit import Vit, vit_tiny_stem


def swin3d_tiny() -> Swin3d:
    """Return a Swin3d for two CPU cores: no padding for sides divisible by 32."""
    return Swin3d(embed_dim=32, depths=(2, 2, 2), num_heads=(2, 4, 8), window_size=4)


def swin3d_base() -> Swin3d:
    """Return a Swin3d of the widths of SwinUNETR's encoder."""
    return Swin3d()


def nodule_detector(*, backbone: str, width: int = 32) -> NoduleDetector:
    """Return a nodule detector on a 3D backbone named in `BACKBONES`."""
    encoder = build_backbone(backbone)
    if not isinstance(encoder, Swin3d):
        msg = f"a nodule detector needs a 3D backbone, got {backbone!r}; use swin3d_tiny"
        raise ConfigError(msg)
    return NoduleDetector(encoder, width=width)


def image_backbone(name: str) -> Vit:
    """Return a 2D backbone named in `BACKBONES`.

    Raises:
        ConfigError: If there is no such backbone, or it is one for volumes.
    """
    encoder = build_backbone(name)
    if not isinstance(encoder, Vit):
        msg = f"images need a 2D backbone, got {name!r}; use vit_tiny_stem"
        raise ConfigError(msg)
    return encoder


def defect_classifier(*, backbone: str, classes: int) -> DefectClassifier:
    """Return an image classifier on a 2D backbone named in `BACKBONES`."""
    return DefectClassifier(image_backbone(backbone), classes=classes)


BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "swin3d_tiny": swin3d_tiny,
    "swin3d_base": swin3d_base,
    "vit_tiny_stem": vit_tiny_stem,
}

MODELS: dict[str, Callable[..., nn.Module]] = {
    "nodule_detector": nodule_detector,
    "defect_classifier": defect_classifier,
    "vit_tiny_stem": vit_tiny_stem,
}


def build_backbone(name: str, **arguments: Any) -> nn.Module:
    """Return a backbone with fresh weights.

    Raises:
        ConfigError: If the name is unknown; the message lists the known ones.
    """
    return _build(BACKBONES, name, arguments)


def build_model(name: str, **arguments: Any) -> nn.Module:
    """Return a whole network with fresh weights, as a model card names it.

    Raises:
        ConfigError: If the name is unknown; the message lists the known ones.
    """
    return _build(MODELS, name, arguments)


def _build(
    table: dict[str, Callable[..., nn.Module]], name: str, arguments: dict[str, Any]
) -> nn.Module:
    if name not in table:
        msg = f"unknown network {name!r}"
        raise ConfigError(msg, hint=f"use one of: {', '.join(sorted(table))}")
    return table[name](**arguments)
