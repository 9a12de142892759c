"""Networks by the names that configs and model cards use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from medvit.errors import ConfigError
from medvit.models.backbone import Backbone2d, Backbone3d
from medvit.models.cnn import cnn_small
from medvit.models.efficientnet import efficientnet_lite0
from medvit.models.heads.boxes import STRIDES_PX, BoxDetector
from medvit.models.heads.centre import NoduleDetector
from medvit.models.heads.classify import DefectClassifier, VolumeClassifier, build_head
from medvit.models.hybrid import hybrid_small
from medvit.models.layers.adapter import insert_adapters
from medvit.models.layers.prompts import insert_prompts
from medvit.models.layers.variant import PLAIN, Variant
from medvit.models.swin2d import swin2d_micro, swin2d_tiny
from medvit.models.swin3d import Merging, Swin3d
from medvit.models.textured import TexturedBackbone
from medvit.models.vit import vit_base, vit_small, vit_tiny, vit_tiny_stem

if TYPE_CHECKING:
    from medvit.models.heads.swin_unetr import SwinUnetr
    from medvit.models.segresnet import SegResNetEncoder


def swin3d_tiny() -> Swin3d:
    """Return a Swin3d for two CPU cores: no padding for sides divisible by 32.

    Its convolutional rival of equal cost is `segresnet_small`.
    """
    return _tiny(PLAIN)


def swin3d_tiny_factorised() -> Swin3d:
    """Return `swin3d_tiny` with attention in planes and along z in turn."""
    return _tiny(Variant(windows="factorised"))


def swin3d_tiny_residual() -> Swin3d:
    """Return `swin3d_tiny` with residual convolutions before each stage, normed by voxel."""
    return _tiny(Variant(entry="channel"))


def swin3d_tiny_global() -> Swin3d:
    """Return `swin3d_tiny` with gated global tokens: for whole volumes, not for detectors."""
    return _tiny(Variant(global_tokens=True))


def _tiny(variant: Variant) -> Swin3d:
    return Swin3d(
        embed_dim=32, depths=(2, 2, 2), num_heads=(2, 4, 8), window_size=4, variant=variant
    )


def swin3d_base() -> Swin3d:
    """Return a Swin3d of the widths of SwinUNETR's encoder."""
    return Swin3d()


def segresnet_small(*, in_channels: int = 1) -> SegResNetEncoder:
    """Return the convolutional rival of `swin3d_tiny`: as many operations, no attention.

    A volume of 96x96x96 takes it 12.8 GFLOP (`swin3d_tiny`: 12.6) and about as many seconds
    on a CPU (`benchmarks/backbones.py`). It has 10.6 M parameters (0.9 M), most of them in its
    two coarsest levels.
    """
    from medvit.models.segresnet import SegResNetEncoder  # noqa: PLC0415 - brings MONAI

    return SegResNetEncoder(in_channels)


def volume_backbone(name: str, *, merging: Merging | None = None) -> Backbone3d:
    """Return a 3D backbone named in `BACKBONES`.

    Args:
        merging: Order of patch merging if the weights to come are MONAI's, which also want its
            padding and bias index. It belongs among the arguments of the model card.

    Raises:
        ConfigError: If there is no such backbone, it is one for images, or it merges nothing.
    """
    encoder = build_backbone(name)
    if merging is not None:
        if not isinstance(encoder, Swin3d):
            msg = f"merging={merging!r} is for a 3D Swin, but {name} is none"
            raise ConfigError(msg)
        encoder.follow_monai(merging)
    if not isinstance(encoder, Backbone3d):
        msg = f"volumes need a 3D backbone, got {name!r}; use swin3d_tiny"
        raise ConfigError(msg)
    return encoder


def nodule_detector(
    *, backbone: str, width: int = 32, merging: Merging | None = None, reduction: bool = False
) -> NoduleDetector:
    """Return a nodule detector on a 3D backbone named in `BACKBONES`."""
    encoder = volume_backbone(backbone, merging=merging)
    return NoduleDetector(encoder, width=width, reduction=reduction)


def volume_classifier(
    *, backbone: str, classes: int, merging: Merging | None = None
) -> VolumeClassifier:
    """Return a classifier of whole volumes on a 3D backbone named in `BACKBONES`."""
    return VolumeClassifier(volume_backbone(backbone, merging=merging), classes=classes)


def swin_unetr(
    *,
    classes: int,
    in_channels: int = 1,
    feature_size: int = 48,
    v2: bool = False,
    merging: Merging = "1.5",
) -> SwinUnetr:
    """Return a segmenter that computes as MONAI's SwinUNETR or SwinUNETR-V2, for its weights.

    Args:
        merging: `1.5` for networks that MONAI 1.5 and later trained, `pre1.5` for older ones.
    """
    from medvit.models.heads.swin_unetr import SwinUnetr  # noqa: PLC0415 - brings 320 MB of MONAI

    variant = Variant(entry="instance") if v2 else PLAIN
    encoder = Swin3d(in_channels, embed_dim=feature_size, variant=variant)
    encoder.follow_monai(merging)
    return SwinUnetr(encoder, classes=classes, in_channels=in_channels)


def image_backbone(
    name: str,
    *,
    in_channels: int = 1,
    hub: dict[str, Any] | None = None,
    texture: bool | Literal["maps"] = False,
) -> Backbone2d:
    """Return a 2D backbone with fresh weights: named in `BACKBONES`, or `hf:`, or `timm:`.

    Args:
        in_channels: 1 for grey images, 3 for colour.
        hub: What a model card keeps of a foreign network, so that nothing is looked up.
        texture: Join its features with those of all its maps and with plain texture; `maps`:
            with those of all its maps alone.

    Raises:
        ConfigError: If there is no such backbone, or it is one for volumes.
        ModelError: If a foreign one is not found.
    """
    if texture:
        network = image_backbone(name, in_channels=in_channels, hub=hub)
        return TexturedBackbone(network, plain=texture != "maps")
    if name.startswith(FOREIGN):
        return foreign_backbone(name, hub, in_channels=in_channels)
    if name in BACKBONES and name not in IMAGE_BACKBONES:
        msg = f"images need a 2D backbone, got {name!r}; use vit_tiny_stem"
        raise ConfigError(msg)
    encoder = build_backbone(name, in_channels=in_channels)
    if not isinstance(encoder, Backbone2d):
        msg = f"images need a 2D backbone, got {name!r}; use vit_tiny_stem"
        raise ConfigError(msg)
    return encoder


def foreign_backbone(
    name: str, hub: dict[str, Any] | None = None, *, in_channels: int = 1
) -> Backbone2d:
    """Return a network of another library with fresh weights.

    Raises:
        ModelError: If it is not found.
    """
    if name.startswith("timm:"):
        from medvit.models.timm_zoo import TimmBackbone  # noqa: PLC0415 - an extra

        return TimmBackbone(name, in_channels=in_channels, **(hub or {}))
    from medvit.models.hub import HubBackbone, HubSettings, read_hub  # noqa: PLC0415 - seldom

    settings = HubSettings(**hub) if hub else read_hub(name)
    return HubBackbone(settings, in_channels=in_channels)


def defect_classifier(
    *,
    backbone: str,
    classes: int,
    in_channels: int = 1,
    head: dict[str, Any] | None = None,
    extras: dict[str, Any] | None = None,
    hub: dict[str, Any] | None = None,
) -> DefectClassifier:
    """Return an image classifier on a 2D backbone.

    Args:
        backbone: As `image_backbone` takes it.
        head: As `build_head` takes it; None for a linear one.
        extras: What is added to the backbone: `texture`, and what tuning put into it,
            `adapter_width`, or `prompts` and `deep`.
        hub: As `image_backbone` takes it.
    """
    extras = extras or {}
    texture = extras.get("texture", False)
    encoder = image_backbone(backbone, in_channels=in_channels, hub=hub, texture=texture)
    if "adapter_width" in extras:
        insert_adapters(encoder.bare, width=extras["adapter_width"])
    if "prompts" in extras:
        insert_prompts(encoder.bare, count=extras["prompts"], deep=extras.get("deep", False))
    judge = build_head(encoder.out_channels, classes=classes, plan=head or {})
    return DefectClassifier(encoder, classes=classes, head=judge)


def defect_detector(
    *,
    backbone: str,
    classes: int,
    in_channels: int = 1,
    width: int = 96,
    strides_px: Sequence[int] = STRIDES_PX,
    hub: dict[str, Any] | None = None,
) -> BoxDetector:
    """Return a detector of boxes on a 2D backbone; arguments as `BoxDetector` takes them."""
    encoder = image_backbone(backbone, in_channels=in_channels, hub=hub)
    return BoxDetector(encoder, classes=classes, width=width, strides_px=tuple(strides_px))


FOREIGN = ("hf:", "timm:")
"""How names of networks of other libraries begin."""

IMAGE_BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "vit_tiny_stem": vit_tiny_stem,
    "vit_tiny": vit_tiny,
    "vit_small": vit_small,
    "vit_base": vit_base,
    "swin2d_micro": swin2d_micro,
    "swin2d_tiny": swin2d_tiny,
    "hybrid_small": hybrid_small,
    "cnn_small": cnn_small,
    "efficientnet_lite0": efficientnet_lite0,
}

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "swin3d_tiny": swin3d_tiny,
    "swin3d_tiny_factorised": swin3d_tiny_factorised,
    "swin3d_tiny_residual": swin3d_tiny_residual,
    "swin3d_tiny_global": swin3d_tiny_global,
    "swin3d_base": swin3d_base,
    "segresnet_small": segresnet_small,
    **IMAGE_BACKBONES,
}

MODELS: dict[str, Callable[..., nn.Module]] = {
    "nodule_detector": nodule_detector,
    "defect_classifier": defect_classifier,
    "defect_detector": defect_detector,
    "volume_classifier": volume_classifier,
    "swin_unetr": swin_unetr,
    "image_backbone": image_backbone,
    **BACKBONES,
}


def build_backbone(name: str, **arguments: Any) -> nn.Module:
    """Return a backbone with fresh weights.

    Raises:
        ConfigError: If the name is unknown; the message lists the known ones.
    """
    return _build(BACKBONES, name, arguments)


def build_model(name: str, /, **arguments: Any) -> nn.Module:
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
