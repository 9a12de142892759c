"""What is right about a broken series, and whether a reader's answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.faults.scan import Array, Scan, Values, hu_at

AIR_HU = -1000.0
"""What stands outside the field of view must not come out above this."""

COVERED = 0.85
"""Share of the volume that a resampled answer must hold."""

EDGE = 1e-3
"""Voxels further outside the data than this, in steps, are not looked at."""

Hu = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """A volume that must come out voxel for voxel, in whatever order and direction of axes.

    Attributes:
        hu: Values `(z, y, x)`.
        affine_lps: From `(z, y, x, 1)` to LPS mm.
        padded: Voxels outside the field of view: any value of air or below will do.
    """

    hu: Values
    affine_lps: Array
    tolerance_hu: float = 0.0
    tolerance_mm: float = 0.02
    padded: npt.NDArray[np.bool_] | None = None

    def problem_with(self, hu: Hu, affine_lps: Array) -> str:
        """Return what is wrong with an answer; empty when it is right."""
        if hu.size != self.hu.size:
            return f"shape {hu.shape}, not {self.hu.shape}"
        places = _places(hu.shape, affine_lps, self.affine_lps)
        nearest = np.rint(places)
        off_mm = np.linalg.norm((places - nearest) @ self.affine_lps[:3, :3].T, axis=1).max()
        if not off_mm <= self.tolerance_mm:
            return f"voxels lie {off_mm:.3f} mm beside the grid"
        if (nearest < 0).any() or (nearest >= self.hu.shape).any():
            return "voxels lie outside the volume"
        flat = np.ravel_multi_index(tuple(nearest.astype(int).T), self.hu.shape)
        if len(np.unique(flat)) != self.hu.size:
            return "voxels lie on top of each other"
        return self._wrong_values(hu.ravel().astype(np.float64), flat)

    def _wrong_values(self, values: Array, flat: npt.NDArray[np.intp]) -> str:
        off_hu = np.abs(values - self.hu.ravel()[flat])
        if self.padded is not None:
            padded = self.padded.ravel()[flat]
            off_hu[padded] = np.maximum(values[padded] - AIR_HU, 0)
        worst = float(off_hu.max())
        return "" if worst <= self.tolerance_hu else f"values are off by up to {worst:.1f} HU"


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A volume on any grid whose every voxel holds the HU of the place where it lies.

    Attributes:
        affine_lps: Of the box, tilted or not, that the slices fill.
        shape: Of that box; steps may be averages.
    """

    affine_lps: Array
    shape: tuple[int, int, int]
    tolerance_hu: float = 5.0

    def problem_with(self, hu: Hu, affine_lps: Array) -> str:
        """Return what is wrong with an answer; empty when it is right."""
        places = _places(hu.shape, affine_lps, self.affine_lps)
        ends = np.array(self.shape) - 1
        is_inside = ((places >= -EDGE) & (places <= ends + EDGE)).all(axis=1)
        one_mm3 = abs(np.linalg.det(affine_lps[:3, :3]))
        whole_mm3 = abs(np.linalg.det(self.affine_lps[:3, :3])) * np.prod(self.shape)
        covered = is_inside.sum() * one_mm3 / whole_mm3
        if covered < COVERED:
            return f"{covered:.0%} of the volume covered"
        points = places[is_inside] @ self.affine_lps[:3, :3].T + self.affine_lps[:3, 3]
        off_hu = float(np.abs(hu.ravel()[is_inside] - hu_at(points)).max())
        return "" if off_hu <= self.tolerance_hu else f"values are off by up to {off_hu:.1f} HU"


Truth = Exact | Resampled


def exact(scan: Scan, *, hu: Values | None = None, tolerance_hu: float = 0.0) -> Exact:
    """Return the truth of a scan that must come out as it is."""
    return Exact(scan.hu() if hu is None else hu, scan.affine_lps(), tolerance_hu)


def resampled(scan: Scan, *, tolerance_hu: float = 5.0) -> Resampled:
    """Return the truth of a scan that may come out on another grid."""
    return Resampled(scan.affine_lps(), scan.shape, tolerance_hu)


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of broken series.

    Attributes:
        group: What it is about: order, geometry, values, type, encoding, files, formats.
        wrong: One sentence.
        write: Writes it into an empty folder.
        volumes: Every volume that may come out; none when nothing may be read.
        must_read: Whether refusing those volumes is wrong: nothing is amiss with them.
        refuse: Reason codes that are right for what is refused.
        say: Reason codes, one of which must be named beside a volume that is read.
        may_find_nothing: Whether an empty answer is right: there is no case in it.
        asks_for_ct: Whether it is a sound image, wrong only where CT in HU is asked for.
        may_be_late: Whether the refusal may come when voxels are read, not before.
    """

    name: str
    group: str
    wrong: str
    write: Callable[[Path], None]
    volumes: Callable[[], Sequence[Truth]] = tuple
    must_read: bool = False
    refuse: frozenset[str] = frozenset()
    say: frozenset[str] = frozenset()
    may_find_nothing: bool = False
    asks_for_ct: bool = False
    may_be_late: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a reader made of one case.

    Attributes:
        codes: Reason codes, the most specific first.
        hu: Values, None when the case was refused; `affine_lps` likewise.
        is_late: Whether it was trusted first and refused when voxels were read.
    """

    codes: tuple[str, ...]
    hu: Hu | None = None
    affine_lps: Array | None = None
    is_late: bool = False


def problems_of(fault: Fault, answers: Sequence[Answer]) -> list[str]:
    """Return everything that is wrong with a triaging reader's answers; empty when all is right."""
    truths = list(fault.volumes())
    problems: list[str] = []
    read = [answer for answer in answers if answer.hu is not None]
    for answer in answers:
        if answer.hu is None and answer.codes[0] not in fault.refuse:
            problems.append(f"refused as {answer.codes[0]}")
        if answer.is_late and not fault.may_be_late:
            problems.append(f"trusted, then refused as {answer.codes[0]} on reading")
    for answer in read:
        problems += _problems_of_volume(fault, answer, truths)
    if fault.must_read and truths:
        problems.append(f"{len(truths)} sound volume(s) not read")
    if not answers and not fault.may_find_nothing:
        problems.append("no case found")
    return problems


def matches(truths: Sequence[Truth], hu: Hu, affine_lps: Array) -> str:
    """Return what is wrong with a volume by the truth that fits it best; empty when one does."""
    if not truths:
        return "read, though nothing in it may be"
    found = [truth.problem_with(hu, affine_lps) for truth in truths]
    return "" if "" in found else found[0]


def _problems_of_volume(fault: Fault, answer: Answer, truths: list[Truth]) -> list[str]:
    """Judge one volume and take the truth that it meets off the list."""
    assert answer.hu is not None
    assert answer.affine_lps is not None
    problem = matches(truths, answer.hu, answer.affine_lps)
    if problem:
        return [f"{problem} (read as {', '.join(answer.codes)})"]
    met = [t for t in truths if not t.problem_with(answer.hu, answer.affine_lps)]
    truths.remove(met[0])
    if fault.say and not fault.say & set(answer.codes):
        return [f"read without a word of {' or '.join(sorted(fault.say))}"]
    return []


def _places(shape: tuple[int, ...], affine: Array, truth: Array) -> Array:
    """Return where the voxels of an answer lie in steps of the truth, `(n, 3)`."""
    index = np.indices(shape).reshape(3, -1)
    points = affine[:3, :3] @ index + affine[:3, 3:]
    places: Array = (np.linalg.inv(truth[:3, :3]) @ (points - truth[:3, 3:])).T
    return places
