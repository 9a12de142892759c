"""A CT scan with the nodules that somebody marked in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.io.case import Case

COLUMNS = 4
"""Columns of a table of nodules: x, y, z and diameter."""

UNMEASURED_DIAMETER_MM = 10.0
"""What LUNA16 takes a finding for whose diameter was not measured."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedScan:
    """One series and what its readers marked.

    Attributes:
        name: SeriesInstanceUID; the file's stem where there is none.
        patient: Whose scan it is; scans of one patient never straddle folds.
        case: The files that hold the series.
        nodules: Shape (k, 4), float64: centre x, y, z in LPS mm, and diameter in mm, above 0.
        ignored: Shape (m, 4), likewise: marks that count neither as nodule nor as background;
            `UNMEASURED_DIAMETER_MM` where only a position was marked.
    """

    name: str
    patient: str
    case: Case
    nodules: NDArray[np.float64]
    ignored: NDArray[np.float64]

    def __post_init__(self) -> None:
        for marks in (self.nodules, self.ignored):
            if marks.ndim != 2 or marks.shape[1] != COLUMNS or marks.dtype != np.float64:
                msg = f"marks are float64 of shape (n, {COLUMNS}), got {marks.dtype} {marks.shape}"
                raise ValueError(msg)
