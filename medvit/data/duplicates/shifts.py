"""Candidate overlaps of all pairs: correlation over all shifts of small high-pass images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

Grey = NDArray[np.uint8]

HIGH_PASS_SHARE = 0.03
"""Standard deviation of the blur that is taken away, as a share of the longer side."""

FLAT_VARIANCE = 0.05
"""Grey levels squared below which a piece of a small image shows nothing to compare."""

SHAPE_GRID = 4
MOST_SHAPES = 8
BATCH = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two images that may overlap.

    Attributes:
        shift: Rows and columns of the first image at which the second one begins.
        correlation: At the small scale.
    """

    first: int
    second: int
    shift: tuple[int, int]
    correlation: float


@dataclass(frozen=True, slots=True)
class CoarseSearch:
    """How candidates are chosen.

    Attributes:
        side_px: Longer side of the small images.
        min_share: Least overlap as a share of the smaller image.
        min_correlation: Of a candidate.
    """

    side_px: int = 50
    min_share: float = 0.08
    min_correlation: float = 0.5


def coarse_factor(greys: Sequence[Grey], *, side_px: int) -> int:
    """Return the whole number by which images are reduced to about `side_px`."""
    usual = float(np.median([max(grey.shape) for grey in greys])) if len(greys) else side_px
    return max(1, round(usual / side_px))


def find_candidates(
    greys: Sequence[Grey],
    *,
    search: CoarseSearch,
    factor: int,
    turn: Callable[[Grey], Grey] | None = None,
    fresh: int | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Iterator[Candidate]:
    """Yield pairs of images that may overlap, first < second.

    With `turn` the second image is turned before; every pair is then looked at twice.
    With `fresh` only pairs with one of the first so many images are looked at.

    The correlation at shift d is C(d) / sqrt(E1(d) E2(-d)), C by one inverse FFT a pair
    and E, the energy inside the overlap, once an image and shape of its partner (Padfield,
    IEEE Trans. Image Process. 21, 2012). Cost: n(n-1)/2 inverse FFTs of twice `side_px`.
    """
    firsts = _bands([_small(grey, factor=factor) for grey in greys])
    seconds = firsts
    if turn is not None:
        seconds = _bands([_small(turn(grey), factor=factor) for grey in greys])
    period = 2 * max((max(band.shape) for band in (*firsts, *seconds)), default=1)
    for band in (*firsts, *seconds):
        band.transform(period)
    total, done = len(greys) ** 2 / (2 if turn is None else 1), 0.0
    for place, left in enumerate(firsts):
        for right in seconds[place if turn is None else 0 :]:
            for found, count in _between(left, right, search=search, fresh=fresh):
                yield from (each for each in found if turn is None or each.first < each.second)
                done += count
                if progress is not None:
                    progress(done, total)


def _small(grey: Grey, *, factor: int) -> NDArray[np.float32]:
    """Return the high-pass image, averaged over blocks of `factor` pixels."""
    values = grey.astype(np.float32)
    values -= gaussian_filter(values, HIGH_PASS_SHARE * max(grey.shape), truncate=3)
    factor = max(1, min(factor, *grey.shape))
    rows, columns = (length // factor for length in grey.shape)
    blocks = values[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _bands(small: Sequence[NDArray[np.float32]]) -> list[_Band]:
    """Return images by shape; many shapes are cut down so that few are left."""
    grid = 1 if len({each.shape for each in small}) <= MOST_SHAPES else SHAPE_GRID
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, each in enumerate(small):
        rows, columns = (max(min(grid, length), length // grid * grid) for length in each.shape)
        buckets[rows, columns].append(index)
    return [_Band(small, indices, shape=shape) for shape, indices in sorted(buckets.items())]


class _Band:
    """The images of one shape and their spectra."""

    def __init__(
        self,
        small: Sequence[NDArray[np.float32]],
        indices: Sequence[int],
        *,
        shape: tuple[int, int],
    ) -> None:
        self.indices = np.array(indices)
        self.shape = shape
        stack = np.stack([small[index][: shape[0], : shape[1]] for index in indices])
        self.values = torch.from_numpy(stack)
        self.period = (0, 0)
        self.spectra = self.values

    def transform(self, period: int) -> None:
        """Compute the spectra, padded with zeros to a square of side `period`."""
        self.period = (period, period)
        self.spectra = torch.fft.rfft2(self.values, s=self.period)

    def mask_spectrum(self) -> Tensor:
        """Return the spectrum of ones over the shape."""
        spectrum: Tensor = torch.fft.rfft2(torch.ones(self.shape), s=self.period)
        return spectrum

    def scales(self, other: _Band, *, min_share: float, is_second: bool) -> Tensor:
        """Return 1/sqrt(energy) within the overlap for every shift, 0 where there is too little."""
        mask, own = other.mask_spectrum(), torch.fft.rfft2(self.values**2, s=self.period)
        first, second = (mask, own) if is_second else (own, mask)
        energy = torch.fft.irfft2(first * second.conj(), s=self.period)
        ones = self.mask_spectrum()
        pair = mask * ones.conj() if is_second else ones * mask.conj()
        pixels = torch.fft.irfft2(pair, s=self.period).round()
        smaller = min(np.prod(self.shape), np.prod(other.shape))
        is_enough = (pixels >= min_share * float(smaller)) & (energy > FLAT_VARIANCE * pixels)
        return torch.where(is_enough, energy.clamp_min(1e-6).rsqrt(), torch.zeros(()))


def _between(
    left: _Band, right: _Band, *, search: CoarseSearch, fresh: int | None = None
) -> Iterator[tuple[list[Candidate], int]]:
    """Yield candidates between the images of two shapes, and how many pairs were looked at."""
    every = len(right.indices)
    few = every if fresh is None else int((right.indices < fresh).sum())  # they come first
    own = left.scales(right, min_share=search.min_share, is_second=False)
    others = right.scales(left, min_share=search.min_share, is_second=True)
    for number in range(len(left.indices)):
        start = number + 1 if left is right else 0
        stop = every if fresh is None or left.indices[number] < fresh else few
        for begin in range(start, stop, BATCH):
            part = slice(begin, min(begin + BATCH, stop))
            product = left.spectra[number] * right.spectra[part].conj()
            surface = torch.fft.irfft2(product, s=left.period)
            surface *= own[number]
            surface *= others[part]
            best, place = surface.flatten(1).max(dim=1)
            hits = (best >= search.min_correlation).nonzero().flatten().tolist()
            found = [
                _candidate(
                    (int(left.indices[number]), int(right.indices[begin + hit])),
                    divmod(int(place[hit]), left.period[1]),
                    left,
                    float(best[hit]),
                )
                for hit in hits
            ]
            yield found, part.stop - part.start


def _candidate(
    pair: tuple[int, int], place: tuple[int, int], left: _Band, correlation: float
) -> Candidate:
    row, column = (
        at - period if at >= length else at
        for at, period, length in zip(place, left.period, left.shape, strict=True)
    )
    first, second = pair
    if first < second:
        return Candidate(first, second, (row, column), correlation)
    return Candidate(second, first, (-row, -column), correlation)
