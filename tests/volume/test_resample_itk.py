from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813

from medvit.geometry import affine_from
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import Volume, volume_of

Hu = npt.NDArray[np.float32]
SHAPE = (40, 47, 52)
"""Wider than the 28 taps of a cubic, so that some voxels are free of the borders."""


def oblique(
    steps_mm: tuple[float, float, float], angles_deg: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Return an affine whose axes are turned about x, y, z one after the other."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles_deg)):
        one, two = [i for i in range(3) if i != axis]
        step = np.eye(3)
        step[[one, one, two, two], [one, two, one, two]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        turn = step @ turn
    z, y, x = (turn[:, 2 - axis] * steps_mm[axis] for axis in range(3))
    return affine_from((-31.0, 12.0, 400.5), z.tolist(), y.tolist(), x.tolist())


AFFINES = {
    "straight": affine_from((-31, 12, 400), (0, 0, 1.25), (0, 0.7, 0), (0.8, 0, 0)),
    "turned round": affine_from((-31, 12, 400), (0, 0, -1.25), (0, -0.7, 0), (0.8, 0, 0)),
    "coronal": affine_from((-31, 12, 400), (0, 0.9, 0), (0, 0, -0.7), (0.8, 0, 0)),
    "sagittal": affine_from((-31, 12, 400), (-0.9, 0, 0), (0, 0, -0.7), (0, 0.8, 0)),
    "oblique": oblique((1.25, 0.7, 0.8), (20, -10, 15)),
    "oblique, turned": oblique((1.25, 0.7, 0.8), (110, 170, 15)),
}


def of_noise(affine: npt.NDArray[np.float64]) -> Volume:
    """Return every voxel drawn from the whole range of a CT: the hardest image there is."""
    hu = np.random.default_rng(7).integers(-1024, 3072, SHAPE)
    return volume_of(hu, affine)


def by_simpleitk(volume: Volume, grid: VoxelGrid, interpolator: int) -> Hu:
    itk: Any = sitk  # its constructors carry no types
    image = itk.GetImageFromArray(volume.read_all().astype(np.float64))
    resample = itk.ResampleImageFilter()
    _place(image, volume.affine_lps)
    reference = itk.Image(list(grid.shape[::-1]), sitk.sitkUInt8)
    _place(reference, grid.affine_lps)
    resample.SetReferenceImage(reference)
    resample.SetInterpolator(interpolator)
    resample.SetOutputPixelType(sitk.sitkFloat64)
    resample.SetNumberOfThreads(1)
    return np.asarray(itk.GetArrayFromImage(resample.Execute(image)))


def _place(image: Any, affine: npt.NDArray[np.float64]) -> None:
    columns = affine[:3, 2::-1]
    steps_mm = np.linalg.norm(columns, axis=0)
    image.SetSpacing(steps_mm.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((columns / steps_mm).ravel().tolist())


def whole(grid: VoxelGrid) -> Hu:
    return grid.read(*(slice(0, length) for length in grid.shape))


@pytest.mark.parametrize("lie", AFFINES)
@pytest.mark.parametrize("spacing_mm", [0.61, 1.0, 2.3])
@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_a_grid_equals_simpleitk_to_a_thousandth_of_an_hu(
    lie: str, spacing_mm: float, kernel: Literal["linear", "cubic"]
) -> None:
    volume = of_noise(AFFINES[lie])
    grid = VoxelGrid.of(volume, spacing_mm, kernel=kernel, antialias=False)
    interpolator = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline}[kernel]
    expected = by_simpleitk(volume, grid, interpolator)
    np.testing.assert_allclose(whole(grid), expected, rtol=0, atol=1e-3)


def test_three_spacings_equal_simpleitk() -> None:
    volume = of_noise(AFFINES["oblique"])
    grid = VoxelGrid.of(volume, (2.0, 0.5, 1.1), kernel="cubic", antialias=False)
    expected = by_simpleitk(volume, grid, sitk.sitkBSpline)
    np.testing.assert_allclose(whole(grid), expected, rtol=0, atol=1e-3)
