"""Few-shot episodes: what prototypes of a few images make of the rest, over many draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medvit.learn.tuning.prototype import cosine_head, tied_covariance_head
from medvit.learn.tuning.tuned import PrototypeKind

DRAWS = 100
HEADS = {"cosine": cosine_head, "tied_covariance": tied_covariance_head}


@dataclass(frozen=True, slots=True)
class Episode:
    """Which images stand for their classes, and which are asked for; no group is in both."""

    support: tuple[int, ...]
    query: tuple[int, ...]


def draw_episode(
    labels: Sequence[int], groups: Sequence[str], *, shots: int, rng: np.random.Generator
) -> Episode:
    """Draw `shots` images of each class; images of other groups are the query.

    Args:
        labels: Class of each image.
        groups: What an image was taken of; a group never is in support and query.
        shots: Images a class, each of another group.

    Raises:
        ValueError: If a class has too few groups for support and query.
    """
    support: list[int] = []
    for label in sorted({*labels}):
        by_group: dict[str, list[int]] = {}
        for index in rng.permutation(len(labels)).tolist():
            if labels[index] == label:
                by_group.setdefault(groups[index], []).append(index)
        if len(by_group) <= shots:
            msg = (
                f"{shots} shots and a query need {shots + 1} groups of each class, "
                f"class {label} has {len(by_group)}"
            )
            raise ValueError(msg)
        support += [members[0] for members in list(by_group.values())[:shots]]
    taken = {groups[index] for index in support}
    query = [index for index in range(len(labels)) if groups[index] not in taken]
    return Episode(tuple(support), tuple(query))


def score_episodes(
    features: Tensor,
    labels: Tensor,
    groups: Sequence[str],
    *,
    shots: int,
    kind: PrototypeKind = "cosine",
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return mean accuracy on the query over 100 draws, and where 95 % of the draws lie.

    Raises:
        ValueError: If there is no such head, or a class has too few groups.
    """
    if kind not in HEADS:
        msg = f"episodes are scored with {' or '.join(HEADS)}, got {kind!r}"
        raise ValueError(msg)
    names = [str(label) for label in range(int(labels.max()) + 1)]
    shares = []
    for _ in range(DRAWS):
        episode = draw_episode(labels.tolist(), groups, shots=shots, rng=rng)
        chosen, asked = torch.tensor(episode.support), torch.tensor(episode.query)
        head = HEADS[kind](features[chosen], labels[chosen], names=names)
        with torch.no_grad():
            guess = head(features[asked].float()).argmax(1)
        shares.append(float((guess == labels[asked]).double().mean()))
    low, high = np.percentile(shares, [2.5, 97.5])
    return {"accuracy": float(np.mean(shares)), "low": float(low), "high": float(high)}
