"""Segmentation of volumes: MONAI's SwinUNETR decoder around any of our encoders.

Hatamizadeh 2022 (arXiv 2201.01266). With the weights of a SwinUNETR it gives MONAI's logits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from monai.networks.blocks.dynunet_block import UnetOutBlock
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from torch import Tensor, nn

from medvit.models.backbone import Backbone3d
from medvit.models.monai_weights import LoadReport, misfits, unwrap
from medvit.models.swin3d import Merging, Swin3d

ENCODER_KEY = re.compile(r"^(module\.)?swinViT\.")
SKIP_KEY = re.compile(r"^(?:module\.)?encoder(\d+)\.(.+)$")
UP_KEY = re.compile(r"^(?:module\.)?decoder(\d)\.(.+)$")
OUT_KEY = re.compile(r"^(?:module\.)?(out\..+)$")
MONAI_BOTTOM = 10
MONAI_LEVELS = 5


class SwinUnetr(nn.Module):
    """An encoder, a convolution on each skip, and five-fold upsampling with MONAI's blocks.

    Its instance norms see the whole tile: a segmenter, not something to score tiles with.

    Args:
        backbone: Encoder whose maps double in width, such as `Swin3d` with four stages.
        classes: Channels of the output, background included.
        in_channels: Channels of the input.
    """

    def __init__(self, backbone: Backbone3d, *, classes: int, in_channels: int = 1) -> None:
        super().__init__()
        if classes < 1:
            msg = f"a segmentation needs at least 1 class, got {classes}"
            raise ValueError(msg)
        widths = backbone.widths
        self.backbone = backbone
        # Each skip passes a block, but for the map above the deepest, which goes in bare.
        sources = [in_channels, *widths[:-2]]
        self.skips = nn.ModuleList(
            _block(source, out) for source, out in zip(sources, [widths[0], *widths], strict=False)
        )
        self.bottom = _block(widths[-1], widths[-1])
        falling = [*reversed(widths), widths[0]]
        self.ups = nn.ModuleList(
            _up(falling[level], falling[level + 1]) for level in range(len(widths))
        )
        self.out = UnetOutBlock(spatial_dims=3, in_channels=widths[0], out_channels=classes)

    @property
    def multiple(self) -> int:
        """What each side of the input must divide by."""
        return int(self.backbone.patch_size * 2 ** (len(self.backbone.widths) - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes, z, y, x) of a volume (n, c, z, y, x).

        Raises:
            ValueError: If a side does not divide by `multiple`.
        """
        if any(side % self.multiple for side in x.shape[2:]):
            msg = f"sides must divide by {self.multiple}, got {tuple(x.shape[2:])}"
            raise ValueError(msg)
        maps = self.backbone(x)
        passed = [skip(part) for skip, part in zip(self.skips, [x, *maps], strict=False)]
        y = self.bottom(maps[-1])
        for up, skip in zip(self.ups, [maps[-2], *reversed(passed)], strict=True):
            y = up(y, skip)
        logits: Tensor = self.out(y)
        return logits

    def load_monai(self, state_dict: Mapping[str, Any], *, merging: Merging) -> LoadReport:
        """Load a whole SwinUNETR as MONAI saves it, key by key.

        Args:
            merging: The order the weights were trained with; MONAI 1.5 and later save `1.5`.

        Returns:
            What matched: 126 entries of the encoder, then all of the decoder.

        Raises:
            ValueError: If the encoder is no `Swin3d` of four stages, or an entry is missing or
                has another shape; the message names them.
        """
        if not isinstance(self.backbone, Swin3d) or len(self.ups) != MONAI_LEVELS:
            kind = type(self.backbone).__name__
            msg = f"SwinUNETR has a Swin3d of four stages, got {kind} of {len(self.ups) - 1}"
            raise ValueError(msg)
        foreign = unwrap(state_dict)
        encoder = {key: value for key, value in foreign.items() if ENCODER_KEY.match(key)}
        decoder, report = self._map_decoder({k: foreign[k] for k in foreign if k not in encoder})
        report = self.backbone.load_monai(encoder, merging=merging) + report
        self.load_state_dict(self.state_dict() | decoder)
        return report

    def _map_decoder(self, foreign: Mapping[str, Any]) -> tuple[dict[str, Tensor], LoadReport]:
        own = {key: v for key, v in self.state_dict().items() if not key.startswith("backbone.")}
        names = {key: _our_name(key) for key in foreign}
        found = {
            names[key]: value
            for key, value in foreign.items()
            if names[key] in own and isinstance(value, Tensor)
        }
        problems = [f"{name} is missing" for name in own if name not in found]
        problems += dict(misfits(found, own)).values()
        if problems:
            matched = len(own) - len(problems)
            msg = f"the decoder matches {matched} of {len(own)} entries: {'; '.join(problems[:8])}"
            raise ValueError(msg)
        dropped = tuple(key for key in foreign if names[key] not in found)
        return found, LoadReport(len(found), len(own), dropped)


def _our_name(key: str) -> str:
    """Return our name for an entry of MONAI's decoder.

    Examples:
        >>> _our_name("module.encoder3.layer.conv1.conv.weight")
        'skips.2.layer.conv1.conv.weight'
        >>> _our_name("decoder5.transp_conv.conv.weight")
        'ups.0.transp_conv.conv.weight'
    """
    if skip := SKIP_KEY.match(key):
        number = int(skip[1])
        place = "bottom" if number == MONAI_BOTTOM else f"skips.{number - 1}"
        return f"{place}.{skip[2]}"
    if up := UP_KEY.match(key):
        return f"ups.{MONAI_LEVELS - int(up[1])}.{up[2]}"
    out = OUT_KEY.match(key)
    return out[1] if out else key


def _block(channels: int, out: int) -> UnetrBasicBlock:
    return UnetrBasicBlock(3, channels, out, 3, 1, norm_name="instance", res_block=True)


def _up(channels: int, out: int) -> UnetrUpBlock:
    return UnetrUpBlock(3, channels, out, 3, 2, norm_name="instance", res_block=True)
