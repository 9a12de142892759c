"""Patches are the scan, drawn alike everywhere, and nothing of a scan is held."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from medvit.data.draws import DrawKey, FreshDraws, Phase
from medvit.data.foreground import find_foreground
from medvit.data.patches import CaseGrid, OpenCases, Part, PatchDraw, VolumePatches, patch_box
from medvit.errors import InputError
from medvit.geometry import index_to_lps
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.readers import open_volume
from medvit.io.scratch import UNTIL_EXIT, Scratch
from medvit.volume.resample import VoxelGrid
from tests.make.chest import centred_affine, make_chest
from tests.make.dicom import CtSeries, write_series

PHASES = (Phase(4.0, 16, 0.5), Phase(2.0, 24, 0.5))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    """Return two DICOM chests."""
    folder = tmp_path_factory.mktemp("chests")
    for number, z_mm in enumerate((4.0, 6.0)):
        hu = make_chest((30, 40, 48)).read_all().astype(np.int16)
        hu += np.arange(48, dtype=np.int16)  # no two columns alike
        series = CtSeries(hu=hu, spacing_mm=(z_mm, 7.0, 8.0), series_uid=f"1.2.3.{number}")
        write_series(folder / f"ct-{number}", series)
    return discover(folder).cases


def patches_of(
    cases: tuple[Case, ...], *, scratch: Scratch = UNTIL_EXIT, seed: int = 3
) -> VolumePatches:
    foregrounds = [find_foreground(open_volume(case)) for case in cases]
    opened = OpenCases(cases, scratch=scratch)
    return VolumePatches(opened, foregrounds, phases=PHASES, lungs_share=0.5, seed=seed)


def test_a_patch_is_the_grid_read_at_the_same_place(cases: tuple[Case, ...]) -> None:
    patches = patches_of(cases)
    for number in range(6):
        draw = patches.draw(DrawKey(1, number))
        grid = VoxelGrid.of(open_volume(cases[draw.case]), 2.0)
        box = patch_box(grid, draw)
        assert np.array_equal(patches[DrawKey(1, number)], grid.read(*box))
        middle = index_to_lps(grid.affine_lps, [(s.start + s.stop - 1) / 2 for s in box])
        inside = all(s.start > 0 and s.stop < n for s, n in zip(box, grid.shape, strict=True))
        if inside:
            assert np.abs(middle - draw.centre_lps_mm).max() <= 1.0  # half a voxel


def test_a_kept_pyramid_gives_patches_of_the_same_place(tmp_path: Path) -> None:
    hu = make_chest((20, 100, 160), centred_affine((20, 100, 160), (9.0, 2.4, 2.4))).read_all()
    write_series(tmp_path / "wide", CtSeries(hu=hu.astype(np.int16), spacing_mm=(9.0, 2.4, 2.4)))
    cases = discover(tmp_path / "wide").cases
    plain = patches_of(cases)
    kept = patches_of(cases, scratch=Scratch.below(tmp_path / "cache"))
    assert kept.draw(DrawKey(1, 0)) == plain.draw(DrawKey(1, 0))
    assert np.abs(kept[DrawKey(1, 0)] - plain[DrawKey(1, 0)]).max() < 1e-3  # the level itself
    assert kept.cases.volume(0, 5.0).shape == (20, 50, 80)
    coarse = [patches.cases.grid(0, 5.0) for patches in (kept, plain)]
    box = (slice(8, 30), slice(10, 40), slice(20, 60))
    gap = np.abs(coarse[0].read(*box) - coarse[1].read(*box))
    assert np.median(gap) < 5  # HU; edges of organs differ by the filter
    assert any((tmp_path / "cache" / "pyramids").iterdir())


def test_patches_stay_inside_scans_that_are_long_enough(cases: tuple[Case, ...]) -> None:
    grid = VoxelGrid.of(open_volume(cases[0]), 2.0)
    for corner in ((-500.0, -500.0, -500.0), (500.0, 500.0, 500.0)):
        box = patch_box(grid, PatchDraw(0, corner, 2.0, 24))
        assert all(s.start >= 0 and s.stop <= n for s, n in zip(box, grid.shape, strict=True))


def test_a_short_scan_lies_in_the_middle_of_its_patch(cases: tuple[Case, ...]) -> None:
    grid = VoxelGrid.of(open_volume(cases[0]), 4.0)
    z, _, _ = patch_box(grid, PatchDraw(0, (0.0, 0.0, 0.0), 4.0, 64))
    depth = grid.shape[0]
    assert depth < 64
    assert abs((-z.start) - (z.stop - depth)) <= 1


def test_the_seed_and_the_number_make_the_draw(cases: tuple[Case, ...]) -> None:
    patches, again, other = (patches_of(cases, seed=seed) for seed in (3, 3, 4))
    keys = [DrawKey(1, number) for number in range(20)]
    assert [patches.draw(key) for key in keys] == [again.draw(key) for key in keys]
    assert [patches.draw(key) for key in keys] != [other.draw(key) for key in keys]
    assert {patches.draw(key).case for key in keys} == {0, 1}
    assert len({patches.draw(key).centre_lps_mm for key in keys}) == 20


def test_the_phase_sets_voxel_and_side(cases: tuple[Case, ...]) -> None:
    patches = patches_of(cases)
    draws = [patches.draw(DrawKey(phase, 7)) for phase in (0, 1)]
    assert [(draw.spacing_mm, draw.side) for draw in draws] == [(4.0, 16), (2.0, 24)]
    assert draws[0].centre_lps_mm == draws[1].centre_lps_mm
    assert patches[DrawKey(0, 7)].shape == (16, 16, 16)


@pytest.mark.slow
def test_workers_draw_what_one_process_draws(cases: tuple[Case, ...], tmp_path: Path) -> None:
    patches = patches_of(cases, scratch=Scratch.below(tmp_path))
    found = []
    for workers in (0, 2):
        order = FreshDraws(6, epochs=2, shares=(0.5, 0.5))
        order.set_epoch(1)
        loader = DataLoader(
            patches,
            batch_size=2,
            sampler=order,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )
        found.append([batch.numpy() for batch in loader])
    assert all(np.array_equal(one, two) for one, two in zip(*found, strict=True))


def test_few_cases_are_open_and_none_travels(cases: tuple[Case, ...]) -> None:
    opened = OpenCases(cases, most_open=1)
    first = opened.grid(0, 2.0)
    assert opened.grid(0, 2.0) is first
    opened.grid(1, 2.0)
    assert opened.grid(0, 2.0) is not first
    assert len(pickle.dumps(opened)) < 64 * 1024


def test_a_part_counts_from_its_own_corner(cases: tuple[Case, ...]) -> None:
    grid = CaseGrid(OpenCases(cases), 0, 4.0)
    part = Part(grid, (2, 3, 4), (5, 5, 5))
    found = part.read(slice(-1, 3), slice(0, 2), slice(1, 9))
    assert np.array_equal(found, grid.read(slice(1, 5), slice(3, 5), slice(5, 13)))
    assert grid.spacing_mm == (4.0, 4.0, 4.0)


def test_a_case_that_went_away_is_named(tmp_path: Path) -> None:
    write_series(tmp_path / "gone", CtSeries(hu=np.zeros((8, 16, 16), np.int16)))
    found = discover(tmp_path).cases
    patches = patches_of(found)
    for path in (tmp_path / "gone").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="gone: a case became unreadable in training"):
        patches[DrawKey(1, 0)]


def test_cases_without_foregrounds_are_refused(cases: tuple[Case, ...]) -> None:
    with pytest.raises(ValueError, match="got 2, 0"):
        VolumePatches(OpenCases(cases), [], phases=PHASES, lungs_share=0.5, seed=0)
