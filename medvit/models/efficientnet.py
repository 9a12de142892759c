"""EfficientNet-Lite: a light CNN of inverted bottlenecks, for which free ImageNet weights exist."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medvit.models.backbone import Backbone2d, centre_brightness
from medvit.models.layers.depthwise import depthwise_conv

CONTRAST_STD = 128 / 255
"""By which the published weights were trained to divide."""

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01


class Level(NamedTuple):
    """A run of bottlenecks of one form; the first of them has the stride."""

    ratio: int
    width: int
    blocks: int
    stride: int
    kernel: int


STEM_WIDTH, HEAD_WIDTH = 32, 1280
LITE0 = (
    Level(1, 16, 1, 1, 3),
    Level(6, 24, 2, 2, 3),
    Level(6, 40, 2, 2, 5),
    Level(6, 80, 3, 2, 3),
    Level(6, 112, 3, 1, 5),
    Level(6, 192, 4, 2, 5),
    Level(6, 320, 1, 1, 3),
)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does it: what does not halve is added right and below.

    Sides of the result are those of the image by the stride, rounded up.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, out, h / stride, w / stride)."""
        left, right = self._padding(x.shape[3])
        above, below = self._padding(x.shape[2])
        if not left == right == above == below:
            x, left = F.pad(x, (left, right, above, below)), 0
        if self.groups > 1 and self.bias is None:
            return depthwise_conv(x, self.weight, stride=self.stride[0], padding=left)
        return F.conv2d(x, self.weight, self.bias, self.stride, left, groups=self.groups)

    def _padding(self, side: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        cells = -(-side // stride)
        more = max((cells - 1) * stride + kernel - side, 0)
        return more // 2, more - more // 2


class ConvNorm(nn.Module):
    """A convolution, its batch norm, and a ReLU that ends at 6, or none."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        is_linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(channels, out, kernel, stride=stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out, eps=NORM_EPS, momentum=NORM_MOMENTUM)
        self.is_linear = is_linear

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, out, h / stride, w / stride), sides rounded up."""
        y: Tensor = self.norm(self.conv(x))
        return y if self.is_linear else F.relu6(y)

    def fold_norm(self) -> None:
        """Merge the norm into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class InvertedBottleneck(nn.Module):
    """Widens, filters each channel by itself, and narrows (Sandler 2018, arXiv 1801.04381)."""

    def __init__(self, channels: int, level: Level, *, stride: int) -> None:
        super().__init__()
        inner = level.ratio * channels
        self.expand = ConvNorm(channels, inner) if level.ratio > 1 else nn.Identity()
        self.depthwise = ConvNorm(inner, inner, level.kernel, stride=stride, groups=inner)
        self.project = ConvNorm(inner, level.width, is_linear=True)
        self.has_shortcut = stride == 1 and channels == level.width

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, width, h / stride, w / stride), sides rounded up."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


class EfficientNetLite(Backbone2d):
    """EfficientNet without squeeze-and-excitation (Tan 2019, arXiv 1905.11946; Liu 2020).

    The published weights saw brightness less middle grey, here it is less the mean of the image, as
    in other backbones of medvit: on two folds of NEU few labels give half a point more so, and a
    darker lamp changes nothing.

    Args:
        plan: Its levels; those without a stride of two join the one before.
        in_channels: 1 for grey images, 3 for colour.
    """

    def __init__(self, plan: tuple[Level, ...] = LITE0, *, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = ConvNorm(in_channels, STEM_WIDTH, 3, stride=2)
        self.levels = nn.ModuleList()
        channels, widths = STEM_WIDTH, list[int]()
        for level in plan:
            blocks = nn.Sequential()
            for index in range(level.blocks):
                stride = 1 if index else level.stride
                blocks.append(InvertedBottleneck(channels, level, stride=stride))
                channels = level.width
            if level.stride == 1 and widths:
                self.levels[-1].extend(blocks)  # type: ignore[operator]
                widths[-1] = channels
            else:
                self.levels.append(blocks)
                widths.append(channels)
        self.head = ConvNorm(channels, HEAD_WIDTH)
        self.widths = (*widths[1:-1], HEAD_WIDTH)
        self.strides_px = tuple(4 << level for level in range(len(self.widths)))

    def embed(self, x: Tensor) -> Tensor:
        """Return the map of the stem and the first level, one cell for 2 pixels on a side."""
        patches: Tensor = self.levels[0](self.stem(centre_brightness(x, contrast_std=CONTRAST_STD)))
        return patches

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the maps of all further levels, at 4, 8, 16 and 32 pixels."""
        return self.stages_of_grid(self.evidence_grid(patches))

    def evidence_grid(self, patches: Tensor) -> Tensor:
        """Return the map of the second level, one cell for 4 pixels on a side."""
        grid: Tensor = self.levels[1](patches)
        return grid

    def stages_of_grid(self, grid: Tensor) -> list[Tensor]:
        """Return the maps of all levels, of which the grid is the first."""
        maps = [grid]
        for level in self.levels[2:]:
            maps.append(level(maps[-1]))
        maps[-1] = self.head(maps[-1])
        return maps

    def fold_norms(self) -> None:
        """Merge each norm into the convolution before it."""
        for part in self.modules():
            if isinstance(part, ConvNorm):
                part.fold_norm()


def efficientnet_lite0(*, in_channels: int = 1) -> EfficientNetLite:
    """Build EfficientNet-Lite0 without its classifier: 3.4 M parameters."""
    return EfficientNetLite(in_channels=in_channels)
