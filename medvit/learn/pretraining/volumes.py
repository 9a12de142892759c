"""Pretraining of 3D encoders: which way a patch is turned, which it is, what was painted over.

Swin UNETR's three tasks (Tang 2022, arXiv 2111.14791). The turn and the identity are
told from the mean of the deepest map, not from corner tokens of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.devices import gathered
from medvit.learn.pretraining.simclr import nt_xent
from medvit.learn.pretraining.views import SslBatch
from medvit.models.backbone import Backbone3d

EMBEDDING = 512


class Restorer(nn.Sequential):
    """Convolution, norm and doubling from the deepest map up to the voxels."""

    def __init__(self, channels: int, *, doublings: int) -> None:
        steps: list[nn.Module] = []
        for _ in range(doublings):
            narrower = max(16, channels // 2)
            steps += [
                nn.Conv3d(channels, narrower, 3, padding=1),
                nn.InstanceNorm3d(narrower),
                nn.LeakyReLU(),
                nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False),
            ]
            channels = narrower
        super().__init__(*steps, nn.Conv3d(channels, 1, 1))


class VolumeSslNet(nn.Module):
    """An encoder and the three heads, which are thrown away after pretraining.

    Args:
        backbone: Its patch size must be a power of 2, and its deepest map have at least two
            voxels on a side.
    """

    def __init__(self, backbone: Backbone3d) -> None:
        super().__init__()
        self.backbone = backbone
        channels = backbone.widths[-1]
        self.rotation = nn.Linear(channels, 4)
        self.identity = nn.Linear(channels, EMBEDDING)
        self.restorer = Restorer(channels, doublings=self.stride.bit_length() - 1)

    @property
    def stride(self) -> int:
        """Voxels of the input on a side of a voxel of the deepest map."""
        doubled: int = self.backbone.patch_size * 2 ** (len(self.backbone.widths) - 1)
        return doubled

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of four turns (n, 4), embeddings (n, d), restored (n, 1, z, y, x)."""
        deepest = self.backbone(x)[-1]
        mean = deepest.mean(dim=(2, 3, 4))
        return self.rotation(mean), self.identity(mean), self.restorer(deepest)


class VolumeSslLoss(nn.Module):
    """Cross entropy of the turns + NT-Xent of the views + L1 of what was restored.

    Args:
        temperature: Of NT-Xent.
    """

    def __init__(self, net: VolumeSslNet, *, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, batch: SslBatch) -> dict[str, Tensor]:
        """Return `loss`, its parts `turn`, `contrast` and `restore`, and two figures to watch.

        `turn_accuracy` is the share of turns recognised; `contrast_accuracy` the share of
        views whose nearest embedding is that of the other view of their patch.
        """
        turns, embeddings, restored = self.net(batch.painted)
        turn = F.cross_entropy(turns.float(), batch.turns)
        first, second = centred(gathered(embeddings)).chunk(2, dim=1)
        pair = first.flatten(0, 1), second.flatten(0, 1)
        contrast = nt_xent(*pair, temperature=self.temperature)
        restore = F.l1_loss(restored.float(), batch.clean)
        right = (turns.argmax(dim=1) == batch.turns).float().mean()
        return {
            "loss": turn + contrast + restore,
            "turn": turn,
            "contrast": contrast,
            "restore": restore,
            "turn_accuracy": right,
            "contrast_accuracy": share_of_pairs_found(*pair),
        }


def centred(embeddings: Tensor) -> Tensor:
    """Return embeddings (..., n, d) less the mean of them all.

    What a fresh encoder says of different patches has a cosine of 0.999: nearly all of it is
    the same for all, and cosines of the whole would leave next to no gradient. The mean is that
    of the step, over all processes.
    """
    wide = embeddings.float()
    return wide - wide.flatten(0, -2).mean(dim=0)


@torch.no_grad()
def share_of_pairs_found(first: Tensor, second: Tensor) -> Tensor:
    """Return the share of rows of two (n, d) whose nearest of all others is their partner.

    Examples:
        >>> one = torch.eye(3)
        >>> share_of_pairs_found(one, one).item(), share_of_pairs_found(one, one.roll(1, 0)).item()
        (1.0, 0.0)
    """
    z = F.normalize(torch.cat([first, second]).float(), dim=1)
    cosines = (z @ z.T).fill_diagonal_(-torch.inf)
    partners = torch.arange(len(z), device=z.device).roll(len(first))
    return (cosines.argmax(dim=1) == partners).float().mean()
