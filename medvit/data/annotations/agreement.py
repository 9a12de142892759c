"""Marks of several readers become nodules: what enough of them agree on.

The rule is that of LUNA16 (Setio et al. 2017, arXiv:1612.08012): marks closer than the sum of
their radii are one finding, and a finding of at least 3 of the 4 readers is a nodule, with the
mean position and diameter. All else counts neither way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

LEAST_READERS = 3


@dataclass(frozen=True, slots=True)
class ReaderMark:
    """What one reader marked.

    Attributes:
        reader: Number of the reading session.
        xyzd_mm: Centre x, y, z in LPS mm, and diameter.
        source: What a message names.
    """

    reader: int
    xyzd_mm: tuple[float, float, float, float]
    source: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """Marks that are one finding, and how many readers stand behind it."""

    xyzd_mm: tuple[float, float, float, float]
    readers: int
    source: str

    @property
    def is_nodule(self) -> bool:
        """Whether enough readers marked it."""
        return self.readers >= LEAST_READERS


def agree(marks: Sequence[ReaderMark]) -> tuple[Agreed, ...]:
    """Merge marks closer than the sum of their radii, in the order of the first of each.

    Examples:
        >>> marks = [ReaderMark(n, (float(n), 0.0, 0.0, 4.0 + n), "a") for n in range(3)]
        >>> agree(marks)
        (Agreed(xyzd_mm=(1.0, 0.0, 0.0, 5.0), readers=3, source='a'),)
    """
    if not marks:
        return ()
    table = np.array([mark.xyzd_mm for mark in marks], dtype=np.float64)
    groups = _groups(table)
    found = []
    for number in dict.fromkeys(groups.tolist()):
        members = np.flatnonzero(groups == number).tolist()
        x, y, z, diameter = table[members].mean(axis=0).tolist()
        readers = {marks[member].reader for member in members}
        found.append(Agreed((x, y, z, diameter), len(readers), marks[members[0]].source))
    return tuple(found)


def _groups(table: NDArray[np.float64]) -> NDArray[np.int32]:
    apart = np.linalg.norm(table[:, None, :3] - table[None, :, :3], axis=-1)
    reach = (table[:, None, 3] + table[None, :, 3]) / 2
    _, groups = connected_components(csr_array(apart < reach), directed=False)
    return np.asarray(groups)
