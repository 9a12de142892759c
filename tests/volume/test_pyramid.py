from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, tuples

from medvit.geometry import affine_from
from medvit.volume.levels import halve, plan_levels
from medvit.volume.pyramid import Pyramid, derived_levels
from medvit.volume.volume import Volume, volume_of


def volume_with(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Volume:
    z, y, x = spacing_mm
    hu = np.random.default_rng(1).integers(-1024, 2000, shape)
    return volume_of(hu, affine_from((1, 2, 3), (0, 0, z), (0, y, 0), (x, 0, 0)))


def pyramid_of(volume: Volume) -> Pyramid:
    lows, highs = (derived_levels(volume, kind)[1:] for kind in ("min", "max"))
    return Pyramid(derived_levels(volume), lows, highs)


def test_levels_of_four_columns_by_hand() -> None:
    hu = np.zeros((2, 2, 130), np.float32)
    hu[:, :, :4] = [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 10, 11], [12, 13, 14, 55]]]
    pyramid = pyramid_of(volume_of(hu, np.eye(4)))
    assert [level.shape for level in pyramid.levels] == [(2, 2, 130), (1, 1, 65)]
    assert pyramid.levels[1].read_all()[0, 0, :3].tolist() == [6.5, 13.5, 0.0]
    assert pyramid.lows[0].read_all()[0, 0, :3].tolist() == [0.0, 2.0, 0.0]
    assert pyramid.highs[0].read_all()[0, 0, :3].tolist() == [13.0, 55.0, 0.0]
    # Two voxels a side, so the first centre lies half a voxel further along each axis.
    assert pyramid.levels[1].affine_lps[:3, 3].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("asked_mm", "spacings_mm", "number"),
    [
        (1.5, (0.7, 0.7, 0.7), 1),  # 1.4 mm
        (1.4, (0.7, 0.7, 0.7), 1),
        (1.39, (0.7, 0.7, 0.7), 0),
        (0.1, (0.7, 0.7, 0.7), 0),
        (99.0, (0.7, 0.7, 0.7), 2),
        (3.0, (5.0, 0.7, 0.7), 2),  # 2.8 mm in the slices, which lie 5 mm apart anyway
        (3.0, (2.5, 0.7, 0.7), 2),
    ],
)
def test_the_level_for_a_spacing_is_the_coarsest_that_is_fine_enough(
    asked_mm: float, spacings_mm: tuple[float, float, float], number: int
) -> None:
    pyramid = pyramid_of(volume_with((8, 260, 260), spacings_mm))
    assert pyramid.number_for(asked_mm) == number
    assert pyramid.level_for(asked_mm) is pyramid.levels[number]


@pytest.mark.parametrize("asked_mm", [0.0, -1.0, float("nan")])
def test_a_spacing_that_is_none_is_refused(asked_mm: float) -> None:
    pyramid = pyramid_of(volume_with((4, 20, 20), (1, 1, 1)))
    with pytest.raises(ValueError, match=f"must be positive, got {asked_mm} mm"):
        pyramid.number_for(asked_mm)


def test_extremes_beside_other_means_are_refused() -> None:
    levels = derived_levels(volume_with((4, 260, 20), (1, 1, 1)))
    with pytest.raises(ValueError, match="beside those of the means"):
        Pyramid(levels, levels[2:], levels[1:])


@settings(max_examples=40, deadline=None)
@given(
    shape=tuples(integers(1, 20), integers(129, 300), integers(1, 40)),
    z_mm=integers(1, 4),
    seed=integers(0, 1000),
)
def test_any_box_of_a_derived_level_is_that_of_the_whole(
    shape: tuple[int, int, int], z_mm: int, seed: int
) -> None:
    volume = volume_with(shape, (float(z_mm), 1.0, 1.0))
    whole = volume.read_all()
    rng = np.random.default_rng(seed)
    levels = derived_levels(volume, "mean")
    for plan, level in zip(plan_levels(volume.shape, volume.affine_lps), levels, strict=True):
        whole = halve(whole, plan.halved)
        ends = [sorted(rng.integers(0, side + 1, 2)) for side in level.shape]
        z, y, x = (slice(int(start), int(stop)) for start, stop in ends)
        np.testing.assert_array_equal(level.read(z, y, x), whole[z, y, x])


def test_a_large_box_is_made_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = volume_with((12, 140, 20), (1, 1, 1))
    depths: list[int] = []

    def read_block(z: slice, y: slice, x: slice) -> np.ndarray:
        depths.append(z.stop - z.start)
        return volume.read_block(z, y, x)

    watched = Volume(volume.shape, volume.affine_lps, read_block)
    expected = derived_levels(volume)[1].read_all()
    monkeypatch.setattr("medvit.volume.pyramid.MOST_SPANNED_BYTES", 4 * 4 * 140 * 20)
    np.testing.assert_array_equal(derived_levels(watched)[1].read_all(), expected)
    assert depths == [4, 4, 4]
