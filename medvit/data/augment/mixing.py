"""Two images in one, and a target that says how much of each defect is left.

MixUp (Zhang 2017, 1710.09412), CutMix (Yun 2019, 1905.04899) and TokenMix (Liu 2022,
2207.08409). The share of an area says nothing of the share of a defect: where maps of content
or boxes are given, targets count what of them is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Method = Literal["none", "mixup", "cutmix", "tokenmix"]
LEAST_TOKENS = 4
ASPECT = (0.3, 1 / 0.3)


@dataclass(frozen=True, slots=True)
class MixSettings:
    """How images of a batch are mixed.

    Attributes:
        method: `tokenmix` takes blocks of patches, `cutmix` one box, `mixup` all in part.
        alpha: Both parameters of the Beta distribution of shares.
        probability: Chance that a batch is mixed.
        within_class: Mix images of one class only, so that every label stays true.
        patch_px: Side of a patch of `tokenmix`.
    """

    method: Method = "none"
    alpha: float = 1.0
    probability: float = 0.5
    within_class: bool = False
    patch_px: int = 16


@dataclass(frozen=True, slots=True)
class Mix:
    """A drawn mixture.

    Attributes:
        partner: For each image the one it is mixed with, shape (n,).
        share: Of its own that an image keeps, where nothing is cut.
        taken: What comes from the partner, bool (h, w); None for a blend of all pixels.
    """

    partner: Tensor
    share: float
    taken: Tensor | None


def draw_mix(
    settings: MixSettings,
    *,
    labels: Tensor,
    size: tuple[int, int],
    generator: torch.Generator,
) -> Mix | None:
    """Draw how a batch is mixed; None when it is left alone.

    The share of a cut is that of the pixels, counted after boxes are clipped.

    Args:
        labels: Class of each image (n,).
        size: Height and width of the images.
    """
    chance = float(torch.rand((), generator=generator))
    if settings.method == "none" or chance >= settings.probability:
        return None
    seed = int(torch.randint(2**62, (), generator=generator))
    rng = np.random.default_rng(seed)
    share = float(rng.beta(settings.alpha, settings.alpha))
    partner = _partners(labels, within_class=settings.within_class, generator=generator)
    if settings.method == "mixup":
        return Mix(partner, share, None)
    if settings.method == "cutmix":
        taken = _box(size, 1 - share, rng)
    else:
        taken = _blocks(size, 1 - share, settings.patch_px, rng)
    return Mix(partner, 1 - float(taken.float().mean()), taken)


def _partners(labels: Tensor, *, within_class: bool, generator: torch.Generator) -> Tensor:
    if not within_class:
        return torch.randperm(len(labels), generator=generator)
    partner = torch.arange(len(labels))
    for label in torch.unique(labels.cpu()):
        members = torch.nonzero(labels.cpu() == label).flatten()
        partner[members] = members[torch.randperm(len(members), generator=generator)]
    return partner


def _box(size: tuple[int, int], share: float, rng: np.random.Generator) -> Tensor:
    h, w = size
    half = [round(side * share**0.5) / 2 for side in size]
    y, x = rng.uniform(0, h), rng.uniform(0, w)
    taken = torch.zeros(size, dtype=torch.bool)
    rows = slice(max(0, round(y - half[0])), max(0, round(y + half[0])))
    taken[rows, max(0, round(x - half[1])) : max(0, round(x + half[1]))] = True
    return taken


def _blocks(size: tuple[int, int], share: float, patch: int, rng: np.random.Generator) -> Tensor:
    """Cover a share of the patches by rectangles of random form."""
    h, w = -(-size[0] // patch), -(-size[1] // patch)
    wanted, cells = round(share * h * w), np.zeros((h, w), dtype=bool)
    while (missing := wanted - int(cells.sum())) > 0:
        area = rng.uniform(min(LEAST_TOKENS, missing), missing)
        aspect = np.exp(rng.uniform(*np.log(ASPECT)))
        rows, columns = (max(1, round((area * a) ** 0.5)) for a in (aspect, 1 / aspect))
        if rows * columns > 1.5 * missing + 1:
            rows = columns = 1
        top = rng.integers(max(1, h - rows + 1))
        left = rng.integers(max(1, w - columns + 1))
        cells[top : top + rows, left : left + columns] = True
    whole = torch.from_numpy(cells).repeat_interleave(patch, 0).repeat_interleave(patch, 1)
    return whole[: size[0], : size[1]]


def mix_images(images: Tensor, mix: Mix) -> Tensor:
    """Return images (n, c, h, w), each with a part of its partner."""
    other = images[mix.partner.to(images.device)]
    if mix.taken is None:
        return mix.share * images + (1 - mix.share) * other
    return torch.where(mix.taken.to(images.device), other, images)


def mix_targets(targets: Tensor, mix: Mix, content: Tensor | None = None) -> Tensor:
    """Return class shares (n, k) of mixed images.

    Args:
        targets: Class shares before (n, k).
        content: Where the labelled thing is, non-negative (n, gh, gw) on any grid; each map
            counts by its sum. None: everywhere alike. Of a blend nothing is cut, so that its
            content does not matter.

    Returns:
        Shares that sum to 1: what of each image's content is still to be seen. An image
        whose mixture keeps nothing of either content is counted by area.
    """
    other = targets[mix.partner.to(targets.device)]
    if mix.taken is None or content is None:
        return mix.share * targets + (1 - mix.share) * other
    size = (mix.taken.shape[0], mix.taken.shape[1])
    full = F.interpolate(content[:, None].float(), size=size, mode="bilinear", align_corners=False)
    shares = full[:, 0] / full[:, 0].sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    taken = mix.taken.to(content.device)
    given = (shares * taken).sum(dim=(1, 2))  # of each image's content, if it is the partner
    own = (shares * ~taken).sum(dim=(1, 2))
    from_other = given[mix.partner.to(content.device)]
    seen = own + from_other
    weight = torch.where(seen > 0, own / seen.clamp(min=1e-12), mix.share)[:, None]
    return weight * targets + (1 - weight) * other


def box_content(boxes: Sequence[Tensor], *, size: tuple[int, int]) -> Tensor:
    """Return maps (n, h, w) that are 1 inside the boxes of an image, and 1 all over without.

    Args:
        boxes: For each image (k, 4): x_min, y_min, x_max, y_max in pixels, half-open.
    """
    maps = torch.zeros(len(boxes), *size)
    for each, found in zip(maps, boxes, strict=True):
        for left, top, right, bottom in found.round().int().tolist():
            each[max(0, top) : bottom, max(0, left) : right] = 1.0
        if not float(each.sum()):
            each.fill_(1.0)
    return maps
