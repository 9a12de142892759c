from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from functools import cache
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medvit.geometry import Affine, Triple, affine_from, index_to_lps, lps_to_index
from medvit.volume.resample import VoxelGrid
from medvit.volume.scale import HuScale
from medvit.volume.volume import AIR_HU, Volume, volume_of
from tests.make.chest import centred_affine, rearranged


def read_whole(grid: VoxelGrid) -> npt.NDArray[np.float32]:
    return grid.read(*(slice(0, length) for length in grid.shape))


def noise_volume(
    shape: tuple[int, int, int] = (7, 11, 13),
    steps_mm: tuple[float, float, float] = (2.5, 0.7, 0.8),
) -> Volume:
    hu = np.random.default_rng(3).uniform(-1000, 500, shape)
    return volume_of(hu, centred_affine(shape, steps_mm))


def slow_axis(line: npt.NDArray[np.float64], step_mm: float, spacing_mm: float) -> list[float]:
    """Resample a line by the written rule, one sum at a time."""
    count = max(1, round(len(line) * step_mm / spacing_mm))
    radius = max(1.0, spacing_mm / step_mm)
    out = []
    for j in range(count):
        place_mm = (j - (count - 1) / 2) * spacing_mm
        place = place_mm / step_mm + (len(line) - 1) / 2
        weights = [max(0.0, 1 - abs(i - place) / radius) for i in range(len(line))]
        out.append(sum(w * v for w, v in zip(weights, line, strict=True)) / sum(weights))
    return out


def test_a_grid_of_the_source_spacing_is_the_source() -> None:
    volume = volume_of(np.arange(24.0).reshape(2, 3, 4), centred_affine((2, 3, 4), (1, 1, 1)))
    grid = VoxelGrid.of(volume)
    assert grid.shape == (2, 3, 4)
    assert (read_whole(grid) == volume.read_all()).all()
    np.testing.assert_allclose(grid.affine_lps, volume.affine_lps)


@pytest.mark.parametrize("spacing_mm", [0.5, 1.0, 1.7, 3.0])
def test_a_grid_equals_the_rule_written_out_axis_by_axis(spacing_mm: float) -> None:
    volume = noise_volume()
    expected = volume.read_all().astype(np.float64)
    for axis in range(3):
        step_mm = volume.spacing_mm[axis]
        expected = np.apply_along_axis(slow_axis, axis, expected, step_mm, spacing_mm)
    grid = VoxelGrid.of(volume, spacing_mm)
    assert grid.shape == expected.shape
    np.testing.assert_allclose(read_whole(grid), expected, atol=1e-3)


def test_upsampling_equals_linear_interpolation_of_scipy() -> None:
    volume = noise_volume(steps_mm=(2.5, 1.1, 1.3))
    grid = VoxelGrid.of(volume, 0.9)
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    places = lps_to_index(volume.affine_lps, index_to_lps(grid.affine_lps, index))
    expected = ndimage.map_coordinates(
        volume.read_all(), np.moveaxis(places, -1, 0), order=1, mode="nearest"
    )
    np.testing.assert_allclose(read_whole(grid), expected, atol=1e-3)


Kernel = Literal["linear", "cubic"]


def draw_box(draw: st.DrawFn, shape: tuple[int, ...], *, beyond: int = 0) -> list[slice]:
    spans = []
    for length in shape:
        start = draw(st.integers(-beyond, length - 1))
        spans.append(slice(start, draw(st.integers(start + 1, length + beyond))))
    return spans


SEAM_VOLUMES = tuple(
    rearranged(noise_volume((30, 17, 29), (0.9, 0.7, 0.8)), order, turned)
    for order, turned in [((0, 1, 2), ()), ((2, 0, 1), (0,)), ((1, 2, 0), (1, 2))]
)
"""Cut into slabs of several slices, with lines long enough for vector instructions."""


@cache
def whole_grid(
    number: int, spacing_mm: float | Triple, kernel: Kernel, *, antialias: bool
) -> tuple[VoxelGrid, npt.NDArray[np.float32]]:
    volume = SEAM_VOLUMES[number]
    grid = VoxelGrid.of(volume, spacing_mm, kernel=kernel, antialias=antialias)
    return grid, read_whole(grid)


@settings(max_examples=80, deadline=None)
@given(
    st.data(),
    st.sampled_from(range(len(SEAM_VOLUMES))),
    st.sampled_from([0.6, 0.9, (0.9, 1.0, 0.8), 1.7]),
    st.sampled_from(["linear", "cubic"]),
    st.booleans(),
)
def test_a_block_is_the_same_bits_as_the_whole_cut_there(
    data: st.DataObject, number: int, spacing_mm: float, kernel: Kernel, antialias: bool
) -> None:
    grid, whole = whole_grid(number, spacing_mm, kernel, antialias=antialias)
    box = data.draw(st.composite(draw_box)(grid.shape))
    assert (grid.read(*box) == whole[tuple(box)]).all()


def test_a_plain_volume_is_read_slab_by_slab_to_the_same_bits() -> None:
    asked: list[int] = []
    noise = noise_volume((40, 60, 70), (1.0, 0.8, 0.8))

    def read_block(z: slice, y: slice, x: slice) -> npt.NDArray[np.float32]:
        asked.append(z.stop - z.start)
        return noise.read_block(z, y, x)

    plain, stored = (replace(noise, read_block=read_block, is_plain=flag) for flag in (True, False))
    expected = read_whole(VoxelGrid.of(stored, 0.9))
    assert asked == [40]
    assert (read_whole(VoxelGrid.of(plain, 0.9)) == expected).all()
    assert asked[1:] == [23, 17]  # 100,000 values hold 23 slices


def test_beyond_the_grid_is_air() -> None:
    grid = VoxelGrid.of(noise_volume(), 1.0)
    depth, height, width = grid.shape
    box = grid.read(slice(-2, depth + 3), slice(-1, height), slice(0, width + 4))
    assert box.shape == (depth + 5, height + 1, width + 4)
    assert (box[2 : 2 + depth, 1:, :width] == read_whole(grid)).all()
    assert (box[:2] == AIR_HU).all()
    assert (box[:, :, width:] == AIR_HU).all()
    assert (grid.read(slice(depth, depth + 2), slice(0, 2), slice(0, 2)) == AIR_HU).all()


def test_padding_below_air_does_not_bleed_into_its_neighbours() -> None:
    hu = np.full((1, 1, 4), -3024.0)
    hu[..., 2:] = np.nan
    grid = VoxelGrid.of(volume_of(hu, centred_affine((1, 1, 4), (1, 1, 0.5))))
    assert read_whole(grid).tolist() == [[[AIR_HU, AIR_HU]]]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("turned", [(), (0,), (1, 2), (0, 1, 2)])
def test_how_a_scan_is_stored_does_not_change_its_grid(
    order: tuple[int, int, int], turned: tuple[int, ...]
) -> None:
    volume = noise_volume()
    expected = VoxelGrid.of(volume, 1.0)
    grid = VoxelGrid.of(rearranged(volume, order, turned), 1.0)
    assert grid.shape == expected.shape
    np.testing.assert_allclose(grid.affine_lps, expected.affine_lps, atol=1e-9)
    np.testing.assert_allclose(read_whole(grid), read_whole(expected), atol=1e-3)


def test_axes_run_to_superior_posterior_and_left() -> None:
    volume = rearranged(noise_volume(), (2, 0, 1), (0, 2))
    steps = VoxelGrid.of(volume, 1.5).affine_lps[:3, :3]
    np.testing.assert_allclose(steps, [[0, 0, 1.5], [0, 1.5, 0], [1.5, 0, 0]], atol=1e-12)


def oblique_affine() -> Affine:
    angle = np.deg2rad(20)
    return affine_from(
        (5, 6, 7),
        (0, -np.sin(angle) * 2, np.cos(angle) * 2),
        (0, np.cos(angle), np.sin(angle)),
        (1, 0, 0),
    )


def test_an_oblique_scan_keeps_its_obliqueness() -> None:
    affine = oblique_affine()
    volume = volume_of(np.zeros((4, 5, 6)), affine)
    grid = VoxelGrid.of(volume, 1.0)
    np.testing.assert_allclose(grid.affine_lps[:3, 0], affine[:3, 0] / 2)
    middle = index_to_lps(grid.affine_lps, (np.array(grid.shape) - 1) / 2)
    np.testing.assert_allclose(middle, index_to_lps(affine, (np.array(volume.shape) - 1) / 2))


def test_only_the_needed_region_is_read() -> None:
    asked: list[tuple[int, int]] = []

    def read_block(z: slice, y: slice, x: slice) -> npt.NDArray[np.float32]:
        asked.extend([(z.start, z.stop), (y.start, y.stop), (x.start, x.stop)])
        return np.zeros((z.stop - z.start, y.stop - y.start, x.stop - x.start), dtype=np.float32)

    volume = Volume((40, 200, 200), centred_affine((40, 200, 200), (3, 0.5, 0.5)), read_block)
    VoxelGrid.of(volume, 1.0).read(slice(30, 36), slice(50, 60), slice(0, 10))
    assert asked == [(9, 13), (99, 121), (0, 21)]


@pytest.mark.parametrize(
    "spacing_mm", [0.0, -1.0, float("inf"), float("nan"), (1.0, 1.0), (1, 0, 1)]
)
def test_a_spacing_that_is_no_length_is_refused(spacing_mm: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"got {spacing_mm} mm")):
        VoxelGrid.of(noise_volume(), spacing_mm)


def test_a_kernel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernel 'lanczos'; choose from linear, cubic"):
        VoxelGrid.of(noise_volume(), kernel="lanczos")  # type: ignore[arg-type]


def test_three_spacings_are_three_axes() -> None:
    volume = noise_volume()
    grid = VoxelGrid.of(volume, (2.5, 1.4, 0.4), antialias=False)
    assert grid.spacing_mm == (2.5, 1.4, 0.4)
    assert grid.shape == (7, 6, 26)
    np.testing.assert_allclose(np.linalg.norm(grid.affine_lps[:3, :3], axis=0), (2.5, 1.4, 0.4))
    along_y = np.apply_along_axis(
        lambda line: np.interp(np.arange(6) * 2, np.arange(11), line), 1, volume.read_all()
    )
    places = 6 + (np.arange(26) - 12.5) / 2
    expected = np.apply_along_axis(lambda line: np.interp(places, np.arange(13), line), 2, along_y)
    np.testing.assert_allclose(read_whole(grid), expected, atol=1e-3)


def test_every_voxel_of_a_finer_grid_without_weights_is_taken() -> None:
    volume = volume_of(np.arange(7.0 * 9 * 9).reshape(7, 9, 9), centred_affine((7, 9, 9), (1,) * 3))
    grid = VoxelGrid.of(volume, (1, 3, 3), antialias=False)
    assert (read_whole(grid) == volume.read_all()[:, 1::3, 1::3]).all()


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
@pytest.mark.parametrize("spacing_mm", [0.6, 1.0, 3.0])
def test_a_constant_stays_constant(kernel: Kernel, spacing_mm: float) -> None:
    volume = volume_of(np.full((9, 20, 30), 3071.0), centred_affine((9, 20, 30), (2.5, 0.7, 0.7)))
    hu = read_whole(VoxelGrid.of(volume, spacing_mm, kernel=kernel))
    np.testing.assert_allclose(hu, 3071, atol=1e-3)


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
@pytest.mark.parametrize("spacing_mm", [0.6, 1.0, 2.0])
def test_a_ramp_of_patient_space_is_read_off_at_the_voxel_centres(
    kernel: Kernel, spacing_mm: float
) -> None:
    shape = (50, 48, 52)
    affine = centred_affine(shape, (0.8, 0.7, 0.9), order="xzy", turned=(True, False, True))
    slope = np.array([20.0, -15.0, 10.0])
    index = np.moveaxis(np.indices(shape), 0, -1)
    volume = volume_of(index_to_lps(affine, index) @ slope, affine)
    grid = VoxelGrid.of(volume, spacing_mm, kernel=kernel, antialias=False)
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    expected = index_to_lps(grid.affine_lps, index) @ slope
    # A mirror bends the ramp at the ends of a cubic, by 0.27 a sample less.
    edge = 1 if kernel == "linear" else round(11 / spacing_mm)
    inner = tuple(slice(edge, n - edge) for n in grid.shape)
    np.testing.assert_allclose(read_whole(grid)[inner], expected[inner], atol=2e-3)


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 6, 5), (4, 1, 2)])
def test_axes_of_one_voxel_are_repeated(kernel: Kernel, shape: tuple[int, int, int]) -> None:
    hu = np.random.default_rng(1).uniform(-1000, 1000, shape)
    grid = VoxelGrid.of(volume_of(hu, centred_affine(shape, (2, 2, 2))), 1.0, kernel=kernel)
    assert grid.shape == tuple(2 * n for n in shape)
    made = read_whole(grid)
    for axis, length in enumerate(shape):
        if length == 1:
            first, second = np.split(made, 2, axis=axis)
            np.testing.assert_allclose(first, second, atol=1e-3)
    if shape == (1, 1, 1):
        np.testing.assert_allclose(made, hu[0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("scale", [HuScale(-1000, 400), HuScale(-160, 240, low=1, high=-1)])
def test_a_scaled_block_is_the_block_scaled_to_the_bit(scale: HuScale) -> None:
    grid = VoxelGrid.of(noise_volume(), 1.0)
    box = (slice(-3, 9), slice(2, 8), slice(1, 14))
    expected = scale.apply(grid.read(*box))
    assert (grid.read(*box, scale=scale) == expected).all()
    batch = np.zeros((2, 12, 6, 26), dtype=np.float32)
    into = batch[1, :, :, ::2]
    assert grid.read(*box, scale=scale, out=into) is into
    assert (batch[1, :, :, ::2] == expected).all()
    assert not batch[0].any()
    assert not batch[1, :, :, 1::2].any()


def test_an_array_of_another_shape_is_refused() -> None:
    grid = VoxelGrid.of(noise_volume(), 1.0)
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\) .* array of shape \(2, 3, 5\)"):
        grid.read(slice(0, 2), slice(0, 3), slice(0, 4), out=np.zeros((2, 3, 5), np.float32))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_crop_is_a_grid_of_its_own(data: st.DataObject) -> None:
    grid = VoxelGrid.of(noise_volume(), 1.0)
    z, y, x = data.draw(st.composite(draw_box)(grid.shape, beyond=5))
    crop = grid.cropped((z, y, x))
    whole = grid.read(z, y, x)
    assert crop.shape == whole.shape
    assert (read_whole(crop) == whole).all()
    inner = data.draw(st.composite(draw_box)(crop.shape))
    assert (read_whole(crop.cropped((inner[0], inner[1], inner[2]))) == whole[tuple(inner)]).all()
    np.testing.assert_allclose(
        index_to_lps(crop.affine_lps, (1, 2, 3)),
        index_to_lps(grid.affine_lps, (z.start + 1, y.start + 2, x.start + 3)),
    )
    around = crop.read(*(slice(-1, n + 2) for n in crop.shape))
    assert (around[1:-2, 1:-2, 1:-2] == whole).all()
    assert (around[0] == AIR_HU).all()
    assert (around[:, :, -2:] == AIR_HU).all()


def test_an_empty_crop_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got shape \(1, 0, 2\)"):
        VoxelGrid.of(noise_volume()).cropped((slice(0, 1), slice(4, 4), slice(0, 2)))


def test_a_box_of_patient_space_holds_the_voxels_whose_centres_lie_in_it() -> None:
    # 10 voxels of 1 mm around the origin: centres at -4.5, -3.5, ... 4.5 mm.
    volume = volume_of(np.zeros((10, 10, 10)), centred_affine((10, 10, 10), (1, 1, 1)))
    grid = VoxelGrid.of(volume, 1.0)
    box = grid.box_between((-4.5, -3.6, 1.0), (-2.5, -3.4, 9.0))
    assert box == (slice(6, 14), slice(1, 2), slice(0, 3))
    assert grid.box_between((0.1, 0, 0), (0.2, 0, 0))[2] == slice(5, 5)
    with pytest.raises(ValueError, match=r"got \[0.0, 2.0, 0.0\] to \[1.0, 1.0, 1.0\]"):
        grid.box_between((0, 2, 0), (1, 1, 1))


def test_a_box_of_patient_space_is_whole_in_an_oblique_grid() -> None:
    volume = volume_of(np.zeros((9, 12, 13)), oblique_affine())
    grid = VoxelGrid.of(volume, 1.0)
    low, high = np.array([-3.0, 0.0, 4.0]), np.array([2.5, 6.0, 9.0])
    box = grid.box_between(low, high)
    index = np.argwhere(np.ones((40, 40, 40))) - 15
    points = index_to_lps(grid.affine_lps, index)
    inside = index[((points >= low) & (points <= high)).all(axis=1)]
    assert len(inside) > 100
    assert (inside >= [part.start for part in box]).all()
    assert (inside < [part.stop for part in box]).all()


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
@pytest.mark.parametrize("spacing_mm", [0.6, 1.0, 3.0])
@pytest.mark.parametrize("depth", [3, 16])
@pytest.mark.parametrize("is_plain", [True, False])
def test_reading_a_block_holds_no_more_memory_than_said(
    kernel: Kernel, spacing_mm: float, depth: int, is_plain: bool
) -> None:
    volume = rearranged(noise_volume((40, 90, 80), (1.0, 0.7, 0.7)), (1, 0, 2), (1,))
    volume = replace(volume, is_plain=is_plain)
    grid = VoxelGrid.of(volume, spacing_mm, kernel=kernel)
    shape = (min(depth, grid.shape[0]), grid.shape[1], min(40, grid.shape[2]))
    tracemalloc.start()
    try:
        grid.read(*(slice(0, length) for length in shape))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.6 * grid.block_bytes(shape) < peak <= grid.block_bytes(shape)


def test_an_empty_block_holds_nothing() -> None:
    grid = VoxelGrid.of(noise_volume())
    assert grid.read(slice(3, 3), slice(0, 2), slice(0, 2)).shape == (0, 2, 2)
    assert grid.block_bytes((0, 2, 2)) < 1000
