"""The search for duplicates: exact copies by hash, overlaps by correlation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medvit.data.duplicates.overlap import Overlap, refine
from medvit.data.duplicates.shifts import Candidate, CoarseSearch, coarse_factor, find_candidates
from medvit.data.duplicates.surfaces import Progress, Surface

Kind = Literal["exact", "overlap"]

TURNS: dict[str, tuple[bool, int]] = {
    "none": (False, 0),
    "rot90": (False, 1),
    "rot180": (False, 2),
    "rot270": (False, 3),
    "flip": (True, 0),
    "flip_rot90": (True, 1),
    "flip_rot180": (True, 2),
    "flip_rot270": (True, 3),
}
"""Whether an image is mirrored left to right, and quarters counter-clockwise after that."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """What counts as a duplicate.

    Attributes:
        min_correlation: Of the high-pass pieces at full resolution.
        min_share: Least overlap as a share of the smaller image.
        small_share: Below it chance agrees more easily, and `small_correlation` is asked for.
        turned: Look also for mirrored and turned copies; fifteen times the work.
    """

    min_correlation: float = 0.89
    min_share: float = 0.08
    small_share: float = 0.10
    small_correlation: float = 0.91
    turned: bool = False

    def accepts(self, overlap: Overlap) -> bool:
        """Return whether an overlap is large enough and alike enough."""
        is_small = overlap.share < self.small_share
        least = self.small_correlation if is_small else self.min_correlation
        return overlap.share >= self.min_share and overlap.correlation >= least


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two images that show the same piece of surface.

    Attributes:
        first: Path, less than `second`.
        share: Overlap as a share of the smaller image; 1 for exact copies.
        correlation: 1 for exact copies.
        shift: Pixels of the file (rows, columns) of the first image at which the second begins.
        turn: How the second image was turned before.
    """

    first: str
    second: str
    kind: Kind
    share: float
    correlation: float
    shift: tuple[int, int]
    turn: str = "none"


def find_duplicates(
    surfaces: Sequence[Surface],
    *,
    settings: SearchSettings | None = None,
    fresh: Collection[str] | None = None,
    progress: Progress | None = None,
) -> list[Duplicate]:
    """Return all pairs of duplicates, sorted by paths; the order of images does not matter.

    Of exact copies one is compared with the other images; each copy is paired with it.

    Args:
        settings: What counts as a duplicate.
        fresh: Paths that were added since the others were searched: overlaps among the others
            are not looked for again. None: all pairs.
        progress: Told how far the search is.
    """
    settings = settings or SearchSettings()
    by_hash: dict[str, list[Surface]] = defaultdict(list)
    for surface in sorted(surfaces, key=lambda each: each.path):
        by_hash[surface.sha256].append(surface)
    found = [
        Duplicate(same[0].path, copy.path, "exact", 1.0, 1.0, (0, 0))
        for same in by_hash.values()
        for copy in same[1:]
    ]
    single = [same[0] for same in by_hash.values()]
    few = None
    if fresh is not None:
        single.sort(key=lambda each: each.path not in fresh)
        few = sum(each.path in fresh for each in single)
    for turn in TURNS if settings.turned else ("none",):
        found += _overlaps(single, turn=turn, settings=settings, fresh=few, progress=progress)
    best: dict[tuple[str, str], Duplicate] = {}
    for each in found:
        before = best.get((each.first, each.second))
        if before is None or each.correlation > before.correlation:
            best[each.first, each.second] = each
    return [best[pair] for pair in sorted(best)]


def turned(grey: NDArray[np.uint8], turn: str) -> NDArray[np.uint8]:
    """Return an image as one of `TURNS` turns it.

    Examples:
        >>> turned(np.array([[1, 2]], np.uint8), "flip").tolist()
        [[2, 1]]
        >>> turned(np.array([[1, 2]], np.uint8), "rot90").tolist()
        [[2], [1]]
    """
    is_mirrored, quarters = TURNS[turn]
    return np.ascontiguousarray(np.rot90(grey[:, ::-1] if is_mirrored else grey, quarters))


def _overlaps(
    surfaces: Sequence[Surface],
    *,
    turn: str,
    settings: SearchSettings,
    fresh: int | None,
    progress: Progress | None,
) -> list[Duplicate]:
    """Return overlaps of surfaces that differ, the lesser path first.

    Args:
        surfaces: Those that are compared with all others come first.
        turn: How the second of a pair is turned.
        settings: What counts.
        fresh: How many are compared with all others; None: every one.
        progress: Told how far the search is.
    """
    greys = [surface.grey for surface in surfaces]
    # The small scale cannot place the border exactly: a little less overlap is enough there.
    search = CoarseSearch(min_share=0.85 * settings.min_share)
    factor = coarse_factor(greys, side_px=search.side_px)
    candidates = find_candidates(
        greys,
        search=search,
        factor=factor,
        turn=None if turn == "none" else lambda grey: turned(grey, turn),
        fresh=fresh,
        progress=None if progress is None else lambda done, total: progress(done, total, "pairs"),
    )
    found = []
    for candidate in candidates:
        one, two = surfaces[candidate.first], surfaces[candidate.second]
        if one.step != two.step:
            continue
        overlap = _measured(candidate, one, two, turn=turn, factor=factor)
        if settings.accepts(overlap):
            found.append(_duplicate(one, two, overlap, turn))
    return found


def _duplicate(one: Surface, two: Surface, overlap: Overlap, turn: str) -> Duplicate:
    row, column = (length * one.step for length in overlap.shift)
    if one.path > two.path and turn == "none":
        one, two, row, column = two, one, -row, -column
    return Duplicate(
        one.path,
        two.path,
        "overlap",
        round(overlap.share, 4),
        round(overlap.correlation, 4),
        (row, column),
        turn,
    )


def _measured(
    candidate: Candidate, one: Surface, two: Surface, *, turn: str, factor: int
) -> Overlap:
    row, column = candidate.shift
    shift = (row * factor, column * factor)
    return refine(one.grey, turned(two.grey, turn), shift, reach=factor)
