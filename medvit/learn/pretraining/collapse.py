"""Whether embeddings still tell images apart: their spread, and how many directions they use."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

LEAST_SPREAD = 0.1
LEAST_RANK = 1.5
"""An embedding below either says nothing any more, whatever the loss."""


@dataclass(frozen=True, slots=True)
class EmbeddingHealth:
    """How embeddings of different images lie.

    Attributes:
        spread: 0 where all point one way, about 1 where they point all ways.
        rank: Directions they use, as an effective number.
    """

    spread: float
    rank: float

    @property
    def has_collapsed(self) -> bool:
        """Whether images cannot be told apart by them."""
        return self.spread < LEAST_SPREAD or self.rank < LEAST_RANK

    def sentence(self) -> str:
        """Return what has happened, and what to change."""
        return (
            f"collapse: embeddings of different images have spread {self.spread:.3f} (least "
            f"{LEAST_SPREAD}) and {self.rank:.2f} effective directions (least {LEAST_RANK}); lower "
            "train.lr, raise train.batch_size or pretrain.temperature, or make views less alike"
        )


def embedding_health(embeddings: Tensor) -> EmbeddingHealth:
    """Measure embeddings (n, d) of different images.

    The spread is the sd of each component of the normalised embeddings times the root of d,
    root mean square over components (Chen 2020, arXiv 2011.10566, section 4.1). The
    effective rank is the exponential of the entropy of their singular values (Roy and
    Vetterli 2007), about the mean.

    Raises:
        ValueError: If there are fewer than two.

    Examples:
        >>> health = embedding_health(torch.cat([torch.eye(3), -torch.eye(3)]))
        >>> round(health.spread, 4), round(health.rank, 4)
        (1.0, 3.0)
    """
    if len(embeddings) < 2:
        msg = f"a spread needs at least two embeddings, got {len(embeddings)}"
        raise ValueError(msg)
    z = F.normalize(embeddings.double(), dim=1)
    rest = z - z.mean(dim=0)
    spread = rest.square().mean(dim=0).sum().sqrt()
    values = torch.linalg.svdvals(rest)
    total = float(values.sum())
    if total < 1e-9:
        return EmbeddingHealth(0.0, 1.0)
    shares = values / total
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    return EmbeddingHealth(float(spread), float(entropy.exp()))
