"""Random views of grey images, drawn and applied for a whole batch at once.

Crops, mirrors and turns are one affine map and one resampling; light, blur and noise follow
in float32. Hue does not exist here, and blur and noise stay below the scale of a defect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

GREY_LEVELS = 255
CANDIDATES = 8
"""Second crops that are drawn for one that overlaps the first; if none does, it is the first."""
BLUR_REACH_PX = 2
RATIO = (0.85, 1.18)


@dataclass(frozen=True, slots=True)
class SurfaceViewSettings:
    """How much a view may differ from its image.

    Attributes:
        side_px: Side of the square view.
        min_area: Smallest share of the image that a crop keeps.
        max_area: Largest share.
        local_share: Part of the pairs whose second view is a small crop.
        local_area: Smallest and largest share of the image of such a crop.
        min_overlap: Two crops of an image share at least this part of the smaller one.
        contrast: Largest relative change of contrast.
        brightness: Largest shift, as a share of the grey range.
        illumination: Largest difference of brightness from one border to the other.
        blur_sigma_px: Largest sigma of the Gaussian blur of a view.
        noise_std: Largest sd of added noise, as a share of the grey range.
        flip: Also mirror: only for parts without direction.
        rotate: Also turn by multiples of 90 degrees: likewise.
    """

    side_px: int
    min_area: float = 0.5
    max_area: float = 1.0
    local_share: float = 0.0
    local_area: tuple[float, float] = (0.15, 0.4)
    min_overlap: float = 0.3
    contrast: float = 0.3
    brightness: float = 0.1
    illumination: float = 0.1
    blur_sigma_px: float = 0.8
    noise_std: float = 0.02
    flip: bool = True
    rotate: bool = False

    def __post_init__(self) -> None:
        low, high = self.local_area
        if not (0 < self.min_area <= self.max_area <= 1 and 0 < low <= high <= 1):
            msg = (
                "areas of crops must rise within 0..1, got "
                f"{self.min_area} to {self.max_area} and local {low} to {high}"
            )
            raise ValueError(msg)
        if not 0 <= self.min_overlap <= 1 or not 0 <= self.local_share <= 1:
            msg = (
                "min_overlap and local_share must lie in 0..1, "
                f"got {self.min_overlap} and {self.local_share}"
            )
            raise ValueError(msg)

    def only_cropped(self) -> SurfaceViewSettings:
        """Return settings that crop and mirror, and leave grey values as they are."""
        return replace(
            self,
            local_share=0.0,
            contrast=0.0,
            brightness=0.0,
            illumination=0.0,
            blur_sigma_px=0.0,
            noise_std=0.0,
        )


class ViewDraws(NamedTuple):
    """All that is random about n views.

    Attributes:
        crops: (n, 4) top, left, height, width in shares of the image.
        mirrored: (n, 2) whether rows, columns run backwards, bool.
        transposed: (n,) whether rows and columns then change places, bool.
        contrast: (n,) factor of what differs from the mean.
        brightness: (n,) added.
        slopes: (n, 2) brightness added from border to border, by rows and by columns.
        blur_sigma_px: (n,) 0: none.
        noise_std: (n,).
        noise_seed: Seeds the noise of all.
    """

    crops: Tensor
    mirrored: Tensor
    transposed: Tensor
    contrast: Tensor
    brightness: Tensor
    slopes: Tensor
    blur_sigma_px: Tensor
    noise_std: Tensor
    noise_seed: int


def draw_views(
    count: int, settings: SurfaceViewSettings, *, generator: torch.Generator
) -> ViewDraws:
    """Draw one view of each of `count` images."""
    area = (settings.min_area, settings.max_area)
    crops = draw_crops((count,), torch.tensor([area]), generator=generator)
    return _with_light(crops, settings, generator)


def draw_pairs(
    count: int, settings: SurfaceViewSettings, *, generator: torch.Generator
) -> tuple[ViewDraws, ViewDraws]:
    """Draw two views of each of `count` images, their crops overlapping as asked."""
    wide = torch.tensor([settings.min_area, settings.max_area])
    first = draw_crops((count,), wide[None], generator=generator)
    is_local = torch.rand(count, generator=generator) < settings.local_share
    area = torch.where(is_local[:, None], torch.tensor(settings.local_area), wide)  # (n, 2)
    tried = draw_crops((count, CANDIDATES), area[:, None], generator=generator)  # (n, k, 4)
    fits = overlap(first[:, None], tried) >= settings.min_overlap  # (n, k)
    chosen = tried[torch.arange(count), fits.int().argmax(dim=1)]
    second = torch.where(fits.any(dim=1)[:, None], chosen, first)
    return _with_light(first, settings, generator), _with_light(second, settings, generator)


def draw_crops(shape: tuple[int, ...], area: Tensor, *, generator: torch.Generator) -> Tensor:
    """Draw crops (..., 4): top, left, height, width in shares, inside the image.

    Args:
        shape: Of the crops.
        area: (..., 2) smallest and largest share; broadcast to `shape`.
    """
    share, ratio, y, x = torch.rand(4, *shape, generator=generator)
    share = area[..., 0] + share * (area[..., 1] - area[..., 0])
    stretch = torch.exp(math.log(RATIO[0]) + ratio * math.log(RATIO[1] / RATIO[0])).sqrt()
    side = share.sqrt()
    stretch = stretch.clamp(side, 1 / side)  # or a crop of nearly all would leave the image
    height, width = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    return torch.stack([y * (1 - height), x * (1 - width), height, width], dim=-1)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return what two crops (..., 4) share, as a part of the smaller one.

    Examples:
        >>> whole, quarter = torch.tensor([0, 0, 1.0, 1.0]), torch.tensor([0.5, 0.5, 0.5, 0.5])
        >>> overlap(whole, quarter).item(), overlap(quarter, quarter - 0.25).item()
        (1.0, 0.0)
    """
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    return shared / torch.minimum(first[..., 2:].prod(dim=-1), second[..., 2:].prod(dim=-1))


def _with_light(
    crops: Tensor, settings: SurfaceViewSettings, generator: torch.Generator
) -> ViewDraws:
    n = len(crops)
    uniform = torch.rand(9, n, generator=generator)
    signed = 2 * uniform - 1
    is_lit, is_blurred, is_noisy = torch.rand(3, n, generator=generator) < torch.tensor(
        [[0.8], [0.3], [0.3]]
    )
    lit = is_lit.float()
    return ViewDraws(
        crops=crops,
        mirrored=(uniform[:2].T < 0.5) & settings.flip,
        transposed=(uniform[2] < 0.5) & settings.rotate,
        contrast=1 + settings.contrast * signed[3] * lit,
        brightness=settings.brightness * signed[4] * lit,
        slopes=settings.illumination * (signed[5:7] * lit).T,
        blur_sigma_px=settings.blur_sigma_px * uniform[7] * is_blurred,
        noise_std=settings.noise_std * uniform[8] * is_noisy,
        noise_seed=int(torch.randint(2**62, (), generator=generator)),
    )


def apply_views(images: Tensor, draws: ViewDraws, *, side_px: int) -> Tensor:
    """Return views (n, 1, side, side) in 0..1, float32, of grey images (n, h, w), uint8."""
    grey = images[:, None].float() / GREY_LEVELS
    views = F.grid_sample(
        grey, _grid(draws, side_px=side_px), padding_mode="reflection", align_corners=False
    )
    views = _lit(views, draws)
    views = _blurred(views, draws.blur_sigma_px)
    generator = torch.Generator().manual_seed(draws.noise_seed)
    noisy = draws.noise_std > 0
    if bool(noisy.any()):
        noise = torch.randn(int(noisy.sum()), 1, side_px, side_px, generator=generator)
        views[noisy] += draws.noise_std[noisy, None, None, None] * noise
    return views.clamp_(0, 1)


def _grid(draws: ViewDraws, *, side_px: int) -> Tensor:
    """Return where the pixels of views lie, (n, side, side, 2) of x, y in -1..1 of the image."""
    top, left, height, width = draws.crops.unbind(dim=1)
    signs = 1 - 2 * draws.mirrored.float()  # (n, 2) of rows, columns
    middles = (torch.arange(side_px) + 0.5) * 2 / side_px - 1  # of pixels, -1..1
    x = (width * signs[:, 1])[:, None] * middles + (2 * left + width - 1)[:, None]  # (n, side)
    y = (height * signs[:, 0])[:, None] * middles + (2 * top + height - 1)[:, None]
    turned = draws.transposed[:, None, None]
    n, side = x.shape
    grid = torch.empty(n, side, side, 2)
    grid[..., 0] = torch.where(turned, x[:, :, None], x[:, None, :])
    grid[..., 1] = torch.where(turned, y[:, None, :], y[:, :, None])
    return grid


def _lit(views: Tensor, draws: ViewDraws) -> Tensor:
    """Return views of another contrast, brightness and slope of light."""
    mean = views.mean(dim=(1, 2, 3))
    places = torch.linspace(-0.5, 0.5, views.shape[-1])
    fields = (
        draws.slopes[:, 0, None, None] * places[:, None] + draws.slopes[:, 1, None, None] * places
    )[:, None]  # (n, 1, s, s)
    offset = mean * (1 - draws.contrast) + draws.brightness
    return views * draws.contrast[:, None, None, None] + offset[:, None, None, None] + fields


def _blurred(views: Tensor, sigmas_px: Tensor) -> Tensor:
    """Return views smoothed along rows and columns, each by its own sigma; 0 leaves it be."""
    chosen = sigmas_px > 0.1  # less does not reach the next pixel
    if not bool(chosen.any()):
        return views
    steps = torch.arange(-BLUR_REACH_PX, BLUR_REACH_PX + 1)
    weights = torch.exp(-(steps**2) / (2 * sigmas_px[chosen, None] ** 2))  # (m, 5)
    weights = weights / weights.sum(dim=1, keepdim=True)
    part, side = views[chosen], views.shape[-1]
    for axis in (2, 3):
        reach = (BLUR_REACH_PX, BLUR_REACH_PX)
        padded = F.pad(part, (0, 0, *reach) if axis == 2 else (*reach, 0, 0), mode="reflect")
        shifted = [padded.narrow(axis, k, side) for k in range(len(steps))]
        part = torch.stack(
            [weights[:, k, None, None, None] * piece for k, piece in enumerate(shifted)]
        ).sum(dim=0)
    views = views.clone()
    views[chosen] = part
    return views
