"""Patches with their views: the range of HU, the same draws everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.data.draws import DrawKey, Phase
from medvit.data.foreground import find_foreground
from medvit.data.patches import OpenCases, VolumePatches
from medvit.io.discover import discover
from medvit.io.readers import open_volume
from medvit.learn.pretraining.patch_pairs import PatchPairs, collate_pairs
from medvit.learn.pretraining.views import PaintShares
from tests.make.chest import make_chest
from tests.make.dicom import CtSeries, write_series


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> PatchPairs:
    folder = tmp_path_factory.mktemp("chest")
    hu = make_chest((20, 24, 28)).read_all().astype(np.int16)
    write_series(folder / "ct", CtSeries(hu=hu, spacing_mm=(12.0, 13.0, 14.0)))
    cases = discover(folder).cases
    return _pairs(OpenCases(cases), side=16)


def _pairs(cases: OpenCases, *, side: int) -> PatchPairs:
    patches = _patches(cases, side=side)
    return PatchPairs(patches, shares=PaintShares(), low_hu=-900.0, high_hu=100.0)


def _patches(cases: OpenCases, *, side: int) -> VolumePatches:
    found = [find_foreground(open_volume(cases.cases[0]))]
    return VolumePatches(cases, found, phases=[Phase(4.0, side)], lungs_share=0.5, seed=1)


def test_the_range_of_hu_becomes_0_to_1(pairs: PatchPairs) -> None:
    hu = pairs.patches[DrawKey(0, 2)]
    patch = pairs[DrawKey(0, 2)].patch
    assert patch.dtype == np.float32
    assert patch == pytest.approx(np.clip((hu + 900) / 1000, 0, 1), abs=1e-6)


def test_an_item_is_the_same_whenever_it_is_drawn(pairs: PatchPairs) -> None:
    first, again = (pairs[DrawKey(0, 5)] for _ in range(2))
    assert np.array_equal(first.patch, again.patch)
    for one, two in zip(first.views, again.views, strict=True):
        assert (one.turns, one.partner, one.noise_seed) == (two.turns, two.partner, two.noise_seed)
        assert np.array_equal(one.noise, two.noise)


def test_the_two_views_and_other_items_are_drawn_apart(pairs: PatchPairs) -> None:
    one, two = pairs[DrawKey(0, 5)].views
    other = pairs[DrawKey(0, 6)].views[0]
    assert len({one.noise_seed, two.noise_seed, other.noise_seed}) == 3


def test_a_batch_holds_both_views_of_each_patch(pairs: PatchPairs) -> None:
    items = [pairs[DrawKey(0, number)] for number in range(3)]
    batch = collate_pairs(items)
    assert batch.painted.shape == (6, 1, 16, 16, 16)
    assert batch.turns.tolist() == [item.views[view].turns for view in (0, 1) for item in items]


def test_a_side_that_cells_do_not_fill_is_refused(pairs: PatchPairs) -> None:
    with pytest.raises(ValueError, match="a multiple of 4 voxels, got 18"):
        _pairs(pairs.patches.cases, side=18)
