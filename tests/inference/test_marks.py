from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.inference.marks import CHANNELS, Maps, decode, decode_slabs, joined
from medvit.tiles.blend import Slab


def maps_of(rng: np.random.Generator, shape: tuple[int, int, int]) -> Maps:
    maps = rng.normal(size=(CHANNELS, *shape)).astype(np.float32)
    maps[:, rng.random(shape) < 0.2] = np.nan
    return maps


def slabs_of(maps: Maps, thickness: int, start: int) -> list[Slab]:
    depth = maps.shape[1]
    return [
        Slab(
            slice(start + z, start + min(z + thickness, depth)),
            maps[:, z : z + thickness],
            np.ones(maps[0, z : z + thickness].shape, np.float32),
        )
        for z in range(0, depth, thickness)
    ]


@given(
    seed=st.integers(0, 10_000),
    depth=st.integers(1, 9),
    thickness=st.integers(1, 10),
    start=st.integers(-3, 5),
)
def test_slabs_give_the_peaks_of_the_whole(
    seed: int, depth: int, thickness: int, start: int
) -> None:
    maps = maps_of(np.random.default_rng(seed), (depth, 5, 4))
    whole = decode(maps, first_cell=(start, 2, -1), stride=2, min_probability=0.3)
    parts = decode_slabs(
        slabs_of(maps, thickness, start), first_cell=(2, -1), stride=2, min_probability=0.3
    )
    order = [np.lexsort(marks.centres.T[::-1]) for marks in (whole, parts)]
    np.testing.assert_array_equal(whole.centres[order[0]], parts.centres[order[1]])
    np.testing.assert_array_equal(whole.scores[order[0]], parts.scores[order[1]])
    np.testing.assert_array_equal(whole.diameters_mm[order[0]], parts.diameters_mm[order[1]])


def test_a_peak_lies_where_its_cell_and_offset_say() -> None:
    maps = np.zeros((CHANNELS, 3, 4, 5), np.float32)
    maps[0] = -5.0
    maps[:, 1, 2, 3] = [2.0, np.log(6.0), 0.25, -0.5, 0.0]
    marks = decode(maps, first_cell=(10, 0, -2), stride=2, min_probability=0.5)
    # ((10 + 1) + 0.5 + 0.25) * 2 - 0.5, and so on
    assert marks.centres.tolist() == [[23.0, 3.5, 2.5]]
    assert marks.diameters_mm.tolist() == pytest.approx([6.0])
    assert marks.scores.tolist() == pytest.approx([1 / (1 + np.exp(-2.0))])


def test_cells_without_a_value_are_no_peaks_and_hide_none() -> None:
    maps = np.full((CHANNELS, 1, 1, 3), np.nan, np.float32)
    maps[:, 0, 0, 1] = [1.0, 0.0, 0.0, 0.0, 0.0]
    assert len(decode(maps, first_cell=(0, 0, 0), stride=1, min_probability=0.1).scores) == 1
    maps[0] = np.nan
    assert len(decode(maps, first_cell=(0, 0, 0), stride=1, min_probability=0.0).scores) == 0


def test_diameters_stay_within_what_a_nodule_can_be() -> None:
    maps = np.zeros((CHANNELS, 1, 1, 1), np.float32)
    for log_diameter, diameter_mm in ((-20.0, 1.0), (20.0, 100.0)):
        maps[1] = log_diameter
        marks = decode(maps, first_cell=(0, 0, 0), stride=1, min_probability=0.1)
        assert marks.diameters_mm.tolist() == pytest.approx([diameter_mm])


def test_no_slabs_have_no_peaks() -> None:
    marks = decode_slabs([], first_cell=(0, 0), stride=2, min_probability=0.1)
    assert marks.centres.shape == (0, 3)
    assert len(joined([]).scores) == 0
