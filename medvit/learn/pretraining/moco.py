"""MoCo v3: a net predicts what its own running mean says of another view of the image.

Chen 2021, arXiv 2104.02057: no queue, keys from the batch, a frozen patch projection.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.contrast import mean_features, multi_layer
from medvit.learn.pretraining.devices import gathered_rows, rank_and_world
from medvit.learn.pretraining.surface_batches import SurfaceBatch
from medvit.models.vit import Block, Vit


@dataclass(frozen=True, slots=True)
class MocoSettings:
    """The shape of the heads and the pace of the running mean.

    Attributes:
        hidden: Width inside the heads; 4096 in the paper, for nets of another size.
        out: Width of what is compared.
        temperature: Divides the cosine similarities.
        momentum: What the running mean keeps at the first step; rises to 1.
        freeze_patches: The patch projection of a ViT stays as it was drawn.
        spare_groups: Images of one group do not repel each other.
        chunk: Images of a forward pass, as `mean_features` takes it.
        keep_share: Of the patches of a ViT that queries see; keys see them all.
    """

    hidden: int = 1024
    out: int = 256
    temperature: float = 0.2
    momentum: float = 0.99
    freeze_patches: bool = True
    spare_groups: bool = False
    chunk: int | None = None
    keep_share: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 <= self.momentum <= 1:
            msg = (
                "temperature must be positive and momentum lie in 0..1, "
                f"got {self.temperature} and {self.momentum}"
            )
            raise ValueError(msg)


def momentum_at(step: int, *, steps: int, first: float) -> float:
    """Return what the running mean keeps at a step: a half cosine from `first` to 1.

    Examples:
        >>> [round(momentum_at(step, steps=4, first=0.9), 4) for step in (0, 2, 4)]
        [0.9, 0.95, 1.0]
    """
    return 1 - 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps)) * (1 - first)


class MocoNet(nn.Module):
    """A backbone with projection and prediction, and the running mean of the first two.

    Args:
        backbone: Encoder of images.
        channels: Of its last map.
        settings: Of the heads.
    """

    def __init__(self, backbone: nn.Module, *, channels: int, settings: MocoSettings) -> None:
        super().__init__()
        wide = {"hidden": settings.hidden, "out": settings.out, "last_norm": True}
        self.backbone = backbone
        self.projection = multi_layer(channels, layers=3, **wide)  # type: ignore[arg-type]
        self.prediction = multi_layer(settings.out, layers=2, **wide)  # type: ignore[arg-type]
        if settings.freeze_patches and isinstance(backbone, Vit):
            patch_projection(backbone).requires_grad_(False)
        self.mean_backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.mean_projection = copy.deepcopy(self.projection).requires_grad_(False)
        self.chunk = settings.chunk
        self.keep_share = settings.keep_share

    def queries(self, images: Tensor) -> Tensor:
        """Return predictions (n, d) of images (n, 1, h, w)."""
        features = mean_features(
            self.backbone, images, chunk=self.chunk, keep_share=self.keep_share
        )
        predictions: Tensor = self.prediction(self.projection(features))
        return predictions

    @torch.no_grad()
    def keys(self, images: Tensor) -> Tensor:
        """Return what the running mean says of images (n, 1, h, w), shape (n, d)."""
        pieces = torch.split(images, self.chunk or len(images))
        features = torch.cat([mean_features(self.mean_backbone, piece) for piece in pieces])
        keys: Tensor = self.mean_projection(features)
        return keys

    def follow(self, *, keep: float) -> None:
        """Move the running mean towards the net; with 0 it is the net."""
        for mean, own in self._pairs():
            mean.mul_(keep).add_(own.detach(), alpha=1 - keep)

    def _pairs(self) -> Iterable[tuple[Tensor, Tensor]]:
        for mean, own in (
            (self.mean_backbone, self.backbone),
            (self.mean_projection, self.projection),
        ):
            yield from zip(mean.parameters(), own.parameters(), strict=True)


def patch_projection(vit: Vit) -> nn.Module:
    """Return the last layer of the stem, which makes tokens; a plain ViT has no other."""
    return vit.stem if isinstance(vit.stem, nn.Conv2d) else list(vit.stem.children())[-1]


def draw_blocks(net: nn.Module, *, generator: torch.Generator) -> None:
    """Draw Transformer blocks by Xavier's rule, query, key and value as three matrices."""
    blocks = [module for module in net.modules() if isinstance(module, Block)]
    for block in blocks:
        for layer in (part for part in block.modules() if isinstance(part, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        dim = block.attn.qkv.in_features
        bound = math.sqrt(6 / (dim + dim))
        nn.init.uniform_(block.attn.qkv.weight, -bound, bound, generator=generator)


class MocoLoss(nn.Module):
    """The symmetric contrastive loss of predictions and keys.

    Args:
        net: What is trained.
        settings: Temperature and pace.
        steps: Of the whole training.
    """

    step: Tensor

    def __init__(self, net: MocoNet, *, settings: MocoSettings, steps: int) -> None:
        super().__init__()
        self.net = net
        self.settings = settings
        self.steps = max(1, steps)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: SurfaceBatch) -> dict[str, Tensor]:
        """Return `loss` of two views of each image, and the `momentum` of this step."""
        first = self.settings.momentum
        keep = momentum_at(int(self.step), steps=self.steps, first=first)
        if self.training:
            self.net.follow(keep=keep)
            self.step += 1
        both = batch.views.flatten(0, 1)
        q1, q2 = self.net.queries(both).chunk(2)
        k1, k2 = self.net.keys(both).chunk(2)
        spared = None
        if self.settings.spare_groups:
            rows = batch.groups[:, None] == gathered_rows(batch.groups)
            spared = rows & ~_own_places(len(q1), rows.shape[1], rows.device)
        temperature = self.settings.temperature
        loss = contrast(q1, gathered_rows(k2), temperature=temperature, spared=spared) + contrast(
            q2, gathered_rows(k1), temperature=temperature, spared=spared
        )
        return {"loss": loss, "momentum": loss.new_tensor(keep)}

    def embed(self, images: Tensor) -> Tensor:
        """Return what the loss compares, (n, d)."""
        return self.net.queries(images)


def contrast(
    queries: Tensor, keys: Tensor, *, temperature: float, spared: Tensor | None = None
) -> Tensor:
    """Return the cross entropy of finding one's key, times 2T as in the authors' code.

    Args:
        queries: Shape (n, d), of this process.
        keys: Shape (m, d), of all processes in the order of their ranks.
        temperature: Divides the cosine similarities.
        spared: Keys that are no negatives of a query, bool (n, m).
    """
    with torch.autocast(queries.device.type, enabled=False):
        q, k = F.normalize(queries.float(), dim=1), F.normalize(keys.float(), dim=1)
        logits = q @ k.T / temperature  # (n, m)
        if spared is not None:
            logits = logits.masked_fill(spared, -1e9)
        places = torch.arange(len(q), device=q.device) + len(q) * rank_and_world()[0]
        return F.cross_entropy(logits, places) * 2 * temperature


def _own_places(n: int, m: int, device: torch.device) -> Tensor:
    places = torch.zeros(n, m, dtype=torch.bool, device=device)
    rows = torch.arange(n, device=device)
    places[rows, rows + n * rank_and_world()[0]] = True
    return places
