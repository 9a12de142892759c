from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medvit.geometry import affine_from, index_to_lps, lps_to_index
from medvit.volume.resample import IsotropicGrid, axis_positions, axis_taps, nearest_axes
from medvit.volume.volume import AIR_HU, Volume, volume_of
from tests.make.chest import centred_affine, rearranged


def read_whole(grid: IsotropicGrid) -> npt.NDArray[np.float32]:
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


def test_halving_a_line_is_a_triangle_mean() -> None:
    taps = axis_taps(4, step_mm=1, spacing_mm=2, source_axis=0, is_flipped=False)
    assert taps.position.tolist() == [0.5, 2.5]
    # Distances 1.5, .5, .5, 1.5 of a triangle of radius 2: 1, 3, 3, 1 quarters, cut at the end.
    np.testing.assert_allclose(taps.weight[0] * 7, [3, 3, 1, 0], atol=1e-6)
    assert taps.index[0].tolist() == [0, 1, 2, 3]


def test_a_grid_of_the_source_spacing_is_the_source() -> None:
    volume = volume_of(np.arange(24.0).reshape(2, 3, 4), centred_affine((2, 3, 4), (1, 1, 1)))
    grid = IsotropicGrid.of(volume)
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
    grid = IsotropicGrid.of(volume, spacing_mm)
    assert grid.shape == expected.shape
    np.testing.assert_allclose(read_whole(grid), expected, atol=1e-3)


def test_upsampling_equals_linear_interpolation_of_scipy() -> None:
    volume = noise_volume(steps_mm=(2.5, 1.1, 1.3))
    grid = IsotropicGrid.of(volume, 0.9)
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    places = lps_to_index(volume.affine_lps, index_to_lps(grid.affine_lps, index))
    expected = ndimage.map_coordinates(
        volume.read_all(), np.moveaxis(places, -1, 0), order=1, mode="nearest"
    )
    np.testing.assert_allclose(read_whole(grid), expected, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_block_is_the_same_bits_as_the_whole_cut_there(data: st.DataObject) -> None:
    grid = IsotropicGrid.of(noise_volume(), 1.0)
    whole = read_whole(grid)
    box = []
    for length in grid.shape:
        start = data.draw(st.integers(0, length - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, length))))
    assert (grid.read(box[0], box[1], box[2]) == whole[tuple(box)]).all()


def test_beyond_the_grid_is_air() -> None:
    grid = IsotropicGrid.of(noise_volume(), 1.0)
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
    grid = IsotropicGrid.of(volume_of(hu, centred_affine((1, 1, 4), (1, 1, 0.5))))
    assert read_whole(grid).tolist() == [[[AIR_HU, AIR_HU]]]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("turned", [(), (0,), (1, 2), (0, 1, 2)])
def test_how_a_scan_is_stored_does_not_change_its_grid(
    order: tuple[int, int, int], turned: tuple[int, ...]
) -> None:
    volume = noise_volume()
    expected = IsotropicGrid.of(volume, 1.0)
    grid = IsotropicGrid.of(rearranged(volume, order, turned), 1.0)
    assert grid.shape == expected.shape
    np.testing.assert_allclose(grid.affine_lps, expected.affine_lps, atol=1e-9)
    np.testing.assert_allclose(read_whole(grid), read_whole(expected), atol=1e-3)


def test_axes_run_to_superior_posterior_and_left() -> None:
    volume = rearranged(noise_volume(), (2, 0, 1), (0, 2))
    steps = IsotropicGrid.of(volume, 1.5).affine_lps[:3, :3]
    np.testing.assert_allclose(steps, [[0, 0, 1.5], [0, 1.5, 0], [1.5, 0, 0]], atol=1e-12)


def test_an_oblique_scan_keeps_its_obliqueness() -> None:
    angle = np.deg2rad(20)
    affine = affine_from(
        (5, 6, 7),
        (0, -np.sin(angle) * 2, np.cos(angle) * 2),
        (0, np.cos(angle), np.sin(angle)),
        (1, 0, 0),
    )
    volume = volume_of(np.zeros((4, 5, 6)), affine)
    grid = IsotropicGrid.of(volume, 1.0)
    np.testing.assert_allclose(grid.affine_lps[:3, 0], affine[:3, 0] / 2)
    middle = index_to_lps(grid.affine_lps, (np.array(grid.shape) - 1) / 2)
    np.testing.assert_allclose(middle, index_to_lps(affine, (np.array(volume.shape) - 1) / 2))


def test_only_the_needed_region_is_read() -> None:
    asked: list[tuple[int, int]] = []

    def read_block(z: slice, y: slice, x: slice) -> npt.NDArray[np.float32]:
        asked.extend([(z.start, z.stop), (y.start, y.stop), (x.start, x.stop)])
        return np.zeros((z.stop - z.start, y.stop - y.start, x.stop - x.start), dtype=np.float32)

    volume = Volume((40, 200, 200), centred_affine((40, 200, 200), (3, 0.5, 0.5)), read_block)
    IsotropicGrid.of(volume, 1.0).read(slice(30, 36), slice(50, 60), slice(0, 10))
    assert asked == [(9, 13), (99, 121), (0, 21)]


@given(st.integers(1, 40), st.floats(0.3, 9), st.floats(0.3, 9))
def test_a_constant_stays_constant(length: int, step_mm: float, spacing_mm: float) -> None:
    taps = axis_taps(length, step_mm=step_mm, spacing_mm=spacing_mm, source_axis=0, is_flipped=True)
    np.testing.assert_allclose(taps.weight.sum(axis=1), 1, rtol=1e-5)
    assert taps.index.min() >= 0
    assert taps.index.max() < length
    places = axis_positions(length, step_mm=step_mm, spacing_mm=spacing_mm)
    assert places.min() >= -0.5
    assert places.max() <= length - 0.5


def test_the_nearest_axes_are_a_permutation_even_at_45_degrees() -> None:
    half = np.sqrt(0.5)
    affine = affine_from((0, 0, 0), (0, half, half), (0, half, -half), (1, 0, 0))
    assert sorted(nearest_axes(affine)) == [0, 1, 2]


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, float("inf"), float("nan")])
def test_a_spacing_that_is_no_length_is_refused(spacing_mm: float) -> None:
    with pytest.raises(ValueError, match=f"got {spacing_mm} mm"):
        IsotropicGrid.of(noise_volume(), spacing_mm)
