from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, tuples

from medvit.geometry import affine_from
from medvit.volume.levels import TOP_SIDE, Kind, halve, plan_levels
from medvit.volume.volume import Hu


def factors_of(shape: tuple[int, int, int], z_mm: float) -> list[tuple[int, int, int]]:
    affine = affine_from((0, 0, 0), (0, 0, z_mm), (0, 0.7, 0), (0.7, 0, 0))
    return [level.factors for level in plan_levels(shape, affine)]


def test_z_waits_until_the_others_are_as_coarse() -> None:
    assert factors_of((300, 512, 512), 2.5) == [
        (1, 1, 1),
        (1, 2, 2),
        (1, 4, 4),
        (2, 8, 8),
        (4, 16, 16),
    ]
    assert factors_of((300, 512, 512), 0.7) == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert factors_of((100, 512, 512), 0.4) == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]


def test_a_long_stack_of_small_slices_is_halved_too() -> None:
    assert factors_of((500, 64, 64), 10.0) == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]


def test_a_side_of_one_voxel_stays() -> None:
    assert [level.shape for level in plan_levels((200, 1, 3), np.eye(4))] == [
        (200, 1, 3),
        (100, 1, 2),
    ]


@given(
    shape=tuples(integers(1, 3000), integers(1, 3000), integers(1, 3000)),
    spacing=tuples(*[floats(0.1, 10)] * 3),
)
def test_levels_end_small_and_each_covers_the_volume(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    levels = plan_levels(shape, np.diag([*spacing, 1.0])[[2, 1, 0, 3]])
    assert max(levels[-1].shape) <= TOP_SIDE
    assert all(max(level.shape) > TOP_SIDE for level in levels[:-1])
    for level in levels:
        for side, factor, whole in zip(level.shape, level.factors, shape, strict=True):
            assert (side - 1) * factor < whole <= side * factor


def slowly_halved(hu: Hu, halved: tuple[int, int, int], kind: Kind) -> Hu:
    """Look at blocks one by one; what lies beyond the edge is the voxel at the edge."""
    shape = [-(-side // by) for side, by in zip(hu.shape, halved, strict=True)]
    out = np.empty(shape, np.float32)
    for index in np.ndindex(*shape):
        block = [
            hu[tuple(np.minimum(np.multiply(index, halved) + step, np.subtract(hu.shape, 1)))]
            for step in np.ndindex(*halved)
        ]
        out[index] = {"mean": np.mean(block), "min": np.min(block), "max": np.max(block)}[kind]
    return out


@pytest.mark.parametrize("kind", ["mean", "min", "max"])
@pytest.mark.parametrize("halved", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 1), (1, 1, 2)])
@pytest.mark.parametrize("shape", [(4, 6, 2), (3, 5, 7), (1, 1, 1)])
def test_halving_looks_at_every_voxel_of_a_block(
    shape: tuple[int, int, int], halved: tuple[int, int, int], kind: Kind
) -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.float32)
    before = hu.copy()
    expected = slowly_halved(hu, halved, kind)
    np.testing.assert_array_equal(halve(hu, halved, kind), expected)
    if kind != "mean":
        whole = halve(hu.astype(np.int16), halved, kind)
        assert whole.dtype == np.int16
        np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(hu, before)
