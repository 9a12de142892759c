"""Tiny NIfTI volumes, sound and broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

RAS_2MM = np.diag([2.0, 2.0, 2.0, 1.0])


def write_nifti(
    path: Path,
    values: npt.NDArray[Any],
    *,
    affine_ras: npt.NDArray[np.float64] = RAS_2MM,
    form_code: int = 1,
    version: int = 1,
) -> Path:
    """Write values in the order of the file, `(i, j, k)`, with one RAS affine."""
    module: Any = nib
    kind = {1: module.Nifti1Image, 2: module.Nifti2Image}[version]
    if path.suffix == ".hdr":
        kind = {1: module.Nifti1Pair, 2: module.Nifti2Pair}[version]
    image = kind(values, affine_ras)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine_ras, code=form_code)
    image.set_qform(None, code=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path
