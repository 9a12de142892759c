"""A small residual CNN: the honest rival of every Transformer on few images."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medvit.models.backbone import Backbone2d, centre_brightness

CONTRAST_STD = 0.06


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut (He 2015, arXiv 1512.03385)."""

    def __init__(self, channels: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            narrow = nn.Conv2d(channels, out, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(narrow, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, out, h / stride, w / stride), sides rounded up."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    def fold_norms(self) -> None:
        """Merge each norm into the convolution before it."""
        _fold(self, "conv1", "norm1")
        _fold(self, "conv2", "norm2")
        if isinstance(self.shortcut, nn.Sequential):
            _fold(self.shortcut, "0", "1")


def _fold(owner: nn.Module, conv: str, norm: str) -> None:
    convolution, following = owner.get_submodule(conv), owner.get_submodule(norm)
    if isinstance(convolution, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
        owner.set_submodule(conv, fuse_conv_bn_eval(convolution, following))
        owner.set_submodule(norm, nn.Identity())


class Cnn(Backbone2d):
    """A ResNet whose stages double the width and halve the sides.

    Evidence is read after the first level, of the image itself. On four classifiers of NEU, 541
    images, boxes then overlap true ones by 0.3 in 57 %, in 56 % with two points on the way from
    a flat image and in 53 % with four; the strongest place lies in a true box in 71, 72 and 72 %.
    From the stem it was 54 % where two points after the first level gave 58, after the second 45.

    Args:
        widths: Channels of each stage; the stem has the first.
        blocks: Residual blocks of each stage.
        in_channels: 1 for grey images, 3 for colour.
    """

    evidence_shares = (1.0,)

    def __init__(
        self, widths: tuple[int, ...] = (32, 64, 128, 256), *, blocks: int = 2, in_channels: int = 1
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.widths = widths
        self.strides_px = tuple(4 << level for level in range(len(widths)))
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.levels = nn.ModuleList()
        channels = widths[0]
        for level, width in enumerate(widths):
            first = ResidualBlock(channels, width, stride=2 if level else 1)
            rest = [ResidualBlock(width, width, stride=1) for _ in range(blocks - 1)]
            self.levels.append(nn.Sequential(first, *rest))
            channels = width

    def embed(self, x: Tensor) -> Tensor:
        """Return the map of the stem, one cell for 4 pixels on a side."""
        patches: Tensor = self.stem(centre_brightness(x, contrast_std=CONTRAST_STD))
        return patches

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the maps of all stages."""
        return self.stages_of_grid(self.evidence_grid(patches))

    def evidence_grid(self, patches: Tensor) -> Tensor:
        """Return the map of the first level, one cell for 4 pixels on a side."""
        first: Tensor = self.levels[0](patches)
        return first

    def stages_of_grid(self, grid: Tensor) -> list[Tensor]:
        """Return the maps of all stages, of which the grid is the first."""
        maps = [grid]
        for level in self.levels[1:]:
            maps.append(level(maps[-1]))
        return maps

    def fold_norms(self) -> None:
        """Merge each norm into the convolution before it: 20 fewer steps in `cnn_small`."""
        _fold(self.stem, "0", "1")
        for part in self.modules():
            if isinstance(part, ResidualBlock):
                part.fold_norms()


def cnn_small(*, in_channels: int = 1) -> Cnn:
    """Build a ResNet-18 of half width: 2.8 M parameters."""
    return Cnn(in_channels=in_channels)
