"""Whether a map tells the truth: what a score loses and gains with the places it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Scores = Callable[[Tensor], Tensor]
"""Gives one score for each of (n, c, ...) inputs."""

BATCH = 17


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Deletion and insertion of a map, beside random maps on the same image.

    Attributes:
        deletion: Score with more and more of the image gone, the strongest places first.
        insertion: Score with more and more of the image there, the strongest places first.
        random_deletion: Area under the deletion curve of each random map.
        random_insertion: Area under the insertion curve of each random map.
    """

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve; low is good."""
        return area(self.deletion)

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve; high is good."""
        return area(self.insertion)

    @property
    def gain(self) -> float:
        """Insertion less deletion, less the same of random maps on average; 0 is chance."""
        chance = float(np.mean(self.random_insertion) - np.mean(self.random_deletion))
        return self.insertion_auc - self.deletion_auc - chance

    @property
    def beaten(self) -> float:
        """Share of the random maps that do worse."""
        own = self.insertion_auc - self.deletion_auc
        pairs = zip(self.random_insertion, self.random_deletion, strict=True)
        return float(np.mean([own > insertion - deletion for insertion, deletion in pairs]))


def area(curve: Sequence[float]) -> float:
    """Return the area under a curve over evenly spaced shares from 0 to 1.

    Examples:
        >>> area([1.0, 0.5, 0.0])
        0.5
    """
    return float(np.trapezoid(curve, dx=1.0 / (len(curve) - 1)))


def measure_faithfulness(  # noqa: PLR0913
    score: Scores,
    image: Tensor,
    heat: Tensor,
    *,
    filler: Tensor,
    steps: int = 16,
    random_maps: int = 8,
    grain_px: float = 8.0,
    rng: np.random.Generator,
) -> Faithfulness:
    """Return what a score loses and gains as the places of a map go and come.

    Petsiuk 2018 (RISE), arXiv 1806.07421, section 4.3.

    Args:
        score: Of the class or finding that the map is to explain.
        image: Shape (1, c, ...).
        heat: The map, of the image's sides.
        filler: What stands where the image is gone; shape of the image.
        steps: Pieces of equal size in which the image goes and comes.
        random_maps: Smoothed noise to compare with.
        grain_px: Sigma of that smoothing; about a cell of the map's own grid, for scattered
            pixels destroy more than the same number in one place.
        rng: Draws the random maps, and the order of places that are equal.

    Raises:
        ValueError: If map or filler do not fit the image.
    """
    if heat.shape != image.shape[2:] or filler.shape != image.shape:
        msg = (
            f"map {tuple(heat.shape)} and filler {tuple(filler.shape)} must fit the image "
            f"{tuple(image.shape)}"
        )
        raise ValueError(msg)
    own = curves(score, image, order_of(heat.cpu().numpy(), rng), filler=filler, steps=steps)
    chance = []
    for _ in range(random_maps):
        noise = ndimage.gaussian_filter(rng.standard_normal(tuple(heat.shape)), grain_px)
        both = curves(score, image, order_of(noise, rng), filler=filler, steps=steps)
        chance.append((area(both[0]), area(both[1])))
    deletions, insertions = zip(*chance, strict=True)
    return Faithfulness(own[0], own[1], deletions, insertions)


def order_of(heat: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the places of a map, strongest first; equal ones in an order drawn at random."""
    shuffled = rng.permutation(heat.size)
    return shuffled[np.argsort(-heat.ravel()[shuffled], kind="stable")]


def curves(
    score: Scores, image: Tensor, order: NDArray[np.intp], *, filler: Tensor, steps: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the curves of deletion and insertion, `steps + 1` scores each."""
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    places = torch.from_numpy(rank).to(image.device).view(image.shape[2:])
    cuts = torch.arange(steps + 1, device=image.device) * order.size // steps
    answers = []
    for outside, inside in ((image, filler), (filler, image)):
        said = []
        for start in range(0, steps + 1, BATCH):
            some = cuts[start : start + BATCH].view(-1, *(1 for _ in image.shape[1:]))
            named = places < some  # (n, 1, ...)
            with torch.no_grad():
                said += score(torch.where(named, inside, outside)).tolist()
        answers.append(tuple(said))
    return answers[0], answers[1]
