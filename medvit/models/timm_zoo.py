"""Encoders of timm, an extra, as backbones: `timm:` and the name of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from medvit.errors import ModelError
from medvit.models.backbone import Backbone2d

PREFIX = "timm:"


class TimmBackbone(Backbone2d):
    """The last map of a network of timm.

    Args:
        name: `timm:` and a name that timm knows.
        in_channels: 1 for grey images, shown as three equal colours, or 3.
        pretrained: Fetch weights, from the cache of timm or from where they are published.

    Raises:
        ModelError: If timm is not installed, has no such network, or cannot fetch the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, *, in_channels: int = 1, pretrained: bool = False) -> None:
        super().__init__()
        try:
            import timm  # noqa: PLC0415 - an extra
        except ImportError as error:
            msg = f"{name} needs timm, which cannot be imported ({error})"
            raise ModelError(
                msg, hint='pip install "medvit[timm]"; it brings torchvision'
            ) from error
        try:
            self.net = timm.create_model(
                name.removeprefix(PREFIX), pretrained=pretrained, num_classes=0
            )
        except (RuntimeError, OSError, ValueError) as error:
            msg = f"{name}: timm has no such network, or cannot fetch its weights ({error})"
            raise ModelError(msg, hint="see timm.list_models(); weights need a network") from error
        self.in_channels = in_channels
        said = self.net.pretrained_cfg
        self.register_buffer("mean", torch.tensor(said["mean"]).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(said["std"]).view(1, -1, 1, 1))
        self.probe_px = int(said["input_size"][-1])
        self.widths = (int(self.net.num_features),)
        self.strides_px = (int(self.net.feature_info[-1]["reduction"]),)

    def embed(self, x: Tensor) -> Tensor:
        """Return images in three colours, centred as the network was trained."""
        return (x.expand(-1, 3, -1, -1) - self.mean) / self.std

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the one map there is, of images that `embed` has centred."""
        features: Tensor = self.net.forward_features(patches)
        if features.ndim == 4:
            is_last = features.shape[-1] == self.widths[0] != features.shape[1]
            return [features.movedim(-1, 1) if is_last else features]
        tokens = features[:, self.net.num_prefix_tokens :]  # (n, t, c)
        h = round(tokens.shape[1] ** 0.5 * (patches.shape[2] / patches.shape[3]) ** 0.5)
        return [tokens.transpose(1, 2).reshape(len(tokens), -1, h, tokens.shape[1] // h)]
