"""Volumes anywhere in space, and the check that a reader puts every voxel where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, index_to_lps, lps_to_index
from medvit.volume.volume import Volume, volume_of

VALUES = ("whole", "fractional", "large")


def any_volume(seed: int, values: str = "whole") -> Volume:
    """Return a small volume: turned or straight, flipped or not, of any spacing."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 8, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if rng.random() < 0.5:
        turn = np.eye(3)[rng.permutation(3)] * rng.choice((-1.0, 1.0), 3)
    affine = np.eye(4)
    affine[:3, :3] = turn * rng.uniform(0.3, 5.0, 3)
    affine[:3, 3] = rng.uniform(-500.0, 500.0, 3)
    hu = rng.integers(-1024, 3072, shape).astype(np.float32)
    hu[0, 0, 0] = -1024.0
    hu[-1, -1, -1] = {"whole": 3071.0, "fractional": 0.5, "large": 40000.0}[values]
    return volume_of(hu, affine)


def assert_same_places(
    volume: Volume, hu: npt.NDArray[Any], affine_lps: Affine, *, within_mm: float
) -> None:
    """Check values `(z, y, x)` with their affine, whichever way a reader turned them."""
    index = np.stack(np.meshgrid(*map(range, volume.shape), indexing="ij"), axis=-1)
    points = index_to_lps(volume.affine_lps, index)
    there = np.rint(lps_to_index(affine_lps, points)).astype(int)
    off_mm = np.linalg.norm(index_to_lps(affine_lps, there) - points, axis=-1)
    assert off_mm.max() <= within_mm
    assert hu.size == np.prod(volume.shape)
    np.testing.assert_array_equal(hu[tuple(np.moveaxis(there, -1, 0))], volume.read_all())


def seen_by_nibabel(path: Path) -> tuple[npt.NDArray[Any], Affine]:
    """Return values `(z, y, x)` and their LPS affine."""
    import nibabel as nib

    image: Any = nib.load(path)
    assert image.header.get_xyzt_units()[0] == "mm"
    return np.asarray(image.dataobj).transpose(2, 1, 0), lps_zyx_from_ras_xyz(image.affine)


def seen_by_simpleitk(path: Path) -> tuple[npt.NDArray[Any], Affine]:
    """Return values `(z, y, x)` and their LPS affine."""
    import SimpleITK

    sitk: Any = SimpleITK
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = (direction * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), affine


def lps_zyx_from_ras_xyz(affine_ras: npt.NDArray[Any]) -> Affine:
    """Return an affine as medvit has it from one as NIfTI has it."""
    affine: Affine = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras)[:, [2, 1, 0, 3]]
    return affine
