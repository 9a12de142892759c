"""A short fine-tuning of a copy of a backbone, to see what its weights are worth."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.surface_views import (
    SurfaceViewSettings,
    apply_views,
    draw_views,
)
from medvit.learn.pretraining.watch import grid_means
from medvit.models.backbone import Backbone2d


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How short.

    Attributes:
        steps: Of AdamW.
        batch_size: Images of a step, drawn with repetition.
        lr: Peak, of the backbone; the head learns ten times faster.
        seed: Of draws and views.
    """

    steps: int
    batch_size: int = 32
    lr: float = 3e-4
    seed: int = 0


def tuned_logits(
    backbone: Backbone2d,
    support: tuple[NDArray[np.uint8], Tensor],
    query: NDArray[np.uint8],
    *,
    views: SurfaceViewSettings,
    settings: TuneSettings,
) -> Tensor:
    """Return logits (m, k) of the query after a fine-tuning on the support.

    Batch norms keep their statistics: a support of six images has none. The backbone itself
    is left as it is.

    Args:
        backbone: Where to start from.
        support: Grey images (n, h, w), uint8, and class indices (n,).
        query: Grey images (m, h, w).
        views: Random changes of the support; images are looked at with their side.
        settings: How short.
    """
    images, labels = torch.from_numpy(support[0]), support[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = copy.deepcopy(backbone).eval().requires_grad_(True)
        head = nn.Linear(net.out_channels, int(labels.max()) + 1)
        nn.init.zeros_(head.weight)
        _tune(net, head, images, labels, views=views, settings=settings)
    with torch.no_grad():
        logits: Tensor = head(grid_means(net, query, side_px=views.side_px))
    return logits


def _tune(
    net: Backbone2d,
    head: nn.Linear,
    images: Tensor,
    labels: Tensor,
    *,
    views: SurfaceViewSettings,
    settings: TuneSettings,
) -> None:
    optimizer = torch.optim.AdamW(
        [
            {"params": list(net.parameters()), "lr": settings.lr},
            {"params": list(head.parameters()), "lr": 10 * settings.lr},
        ],
        weight_decay=0.05,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    )
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.steps):
        chosen = torch.randint(len(images), (settings.batch_size,), generator=generator)
        draws = draw_views(len(chosen), views, generator=generator)
        seen = apply_views(images[chosen], draws, side_px=views.side_px)
        loss = F.cross_entropy(head(net(seen).mean(dim=(2, 3))), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
