from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.errors import ModelError
from medvit.geometry import affine_from, index_to_lps
from medvit.inference.nodules import Nodule, NoduleScan, NoduleSettings, Watch, detect_nodules
from medvit.inference.tile_journal import TileJournal
from medvit.inference.tile_search import SearchMeans
from medvit.io.pyramids import hold_pyramid
from medvit.models.heads.centre import CentreMaps
from medvit.volume.lungs import find_lungs
from medvit.volume.volume import Volume, volume_of
from tests.make.chest import (
    Ball,
    Point,
    in_ellipsoid,
    make_chest,
    positions_lps_mm,
    rearranged,
)

SMALL = NoduleSettings(tile_side=48, overlap=20)
SHAPE = (30, 150, 110)


def mean_of(x: Tensor, side: int) -> Tensor:
    """Return the mean over side^3 cells, one axis after the other."""
    for axis in range(3):
        kernel = tuple(side if i == axis else 1 for i in range(3))
        padding = tuple(k // 2 for k in kernel)
        x = F.avg_pool3d(x, kernel, stride=1, padding=padding)
    return x


class BlobFinder(nn.Module):
    """Find bright balls that are dark 10 mm away on all six sides; two voxels a cell."""

    stride = 2

    def forward(self, x: Tensor) -> CentreMaps:
        cells = F.avg_pool3d(x, 2)  # (1, 1, z, y, x)
        inner = mean_of(cells, 3)
        sides = [inner.roll(way, axis) for axis in range(2, 5) for way in (-5, 5)]
        heat = (inner - torch.stack(sides).amax(0) - 0.35) * 30
        bright = ((cells - 0.12) / 0.62).clamp(0, 1)
        mass = mean_of(bright, 9) * 729 + 1e-6
        offsets = []
        for axis in range(2, 5):
            form = [1] * 5
            form[axis] = cells.shape[axis]
            place = torch.arange(cells.shape[axis], dtype=x.dtype).reshape(form)
            offsets.append(mean_of(bright * place, 9) * 729 / mass - place)
        log_diameter = torch.log((mass * 8 * 6 / torch.pi) ** (1 / 3))
        return CentreMaps(heat, log_diameter, torch.cat(offsets, dim=1))


def finder() -> nn.Module:
    return BlobFinder().eval()


def right_lung(*balls: Ball) -> Volume:
    """A part of a chest around the lung at x = -70: 2.5 mm slices, 1.25 mm pixels."""
    affine = affine_from((-138.1, -93.1, -36.2), (0, 0, 2.5), (0, 1.25, 0), (1.25, 0, 0))
    return make_chest(SHAPE, affine, balls=balls)


BALLS = (Ball((-72.3, 10.2, -4.6), 11.0), Ball((-50.0, -40.4, 12.9), 9.0))


def search(volume: Volume, model: nn.Module, **options: Any) -> NoduleScan:
    return detect_nodules(hold_pyramid(volume), model, **options)


@cache
def small_scan() -> NoduleScan:
    return search(right_lung(*BALLS), finder(), settings=SMALL)


def errors_mm(scan: NoduleScan, *centres: Point) -> list[float]:
    found = np.array([nodule.centre_lps_mm for nodule in scan.nodules])
    return [float(np.linalg.norm(found - centre, axis=1).min()) for centre in centres]


def test_planted_balls_are_found_where_they_are_and_nothing_else() -> None:
    volume, scan = right_lung(*BALLS), small_scan()
    assert len(scan.nodules) == 2
    assert max(errors_mm(scan, *(ball.centre_lps_mm for ball in BALLS))) < 1.0
    by_size = sorted(nodule.diameter_mm for nodule in scan.nodules)
    np.testing.assert_allclose(by_size, [9, 11], atol=1.0)
    assert scan.reason == ""
    assert scan.message.startswith("lungs found")
    for nodule in scan.nodules:
        away = index_to_lps(volume.affine_lps, nodule.index_zyx) - nodule.centre_lps_mm
        assert (np.abs(away) <= np.array([1.25, 1.25, 2.5]) / 2 + 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "turned"), [((0, 1, 2), (0,)), ((1, 2, 0), (1, 2)), ((2, 0, 1), (0, 1, 2))]
)
def test_how_the_scan_is_stored_does_not_move_its_nodules(
    order: tuple[int, int, int], turned: tuple[int, ...]
) -> None:
    volume = rearranged(right_lung(*BALLS), order, turned)
    scan = search(volume, finder(), settings=SMALL)
    assert len(scan.nodules) == 2
    assert max(errors_mm(scan, *(ball.centre_lps_mm for ball in BALLS))) < 1.0
    for nodule in scan.nodules:
        hu = volume.read_all()[nodule.index_zyx]
        assert hu == 30


def test_a_scan_turned_in_space_gives_turned_nodules() -> None:
    angle = np.deg2rad(15)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight = right_lung(*BALLS)
    volume = replace(straight, affine_lps=turn @ straight.affine_lps)
    scan = search(volume, finder(), settings=SMALL)
    centres = [turn[:3, :3] @ np.array(ball.centre_lps_mm) for ball in BALLS]
    assert max(errors_mm(scan, *((c[0], c[1], c[2]) for c in centres))) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("side", "overlap"), [(64, 24), (56, 36), (96, 24)])
def test_where_tiles_end_does_not_change_the_nodules(side: int, overlap: int) -> None:
    volume, expected = right_lung(*BALLS), small_scan()
    scan = search(volume, finder(), settings=NoduleSettings(tile_side=side, overlap=overlap))
    assert scan.tiles != expected.tiles
    assert len(scan.nodules) == 2
    for nodule, other in zip(scan.nodules, expected.nodules, strict=True):
        np.testing.assert_allclose(nodule.centre_lps_mm, other.centre_lps_mm, atol=1.0)


def test_what_lies_outside_the_lungs_is_counted_and_dropped() -> None:
    volume = right_lung(*BALLS)
    lungs = find_lungs(volume)
    points = positions_lps_mm(lungs.mask.shape, lungs.affine_lps)
    around = in_ellipsoid(points, BALLS[1].centre_lps_mm, (20, 20, 20))
    without = replace(lungs, search=lungs.search & ~around)
    scan = search(volume, finder(), settings=SMALL, lungs=without)
    assert len(scan.nodules) == 1
    assert errors_mm(scan, BALLS[0].centre_lps_mm)[0] < 1.0
    assert scan.marks_outside_lungs == 1


def test_a_scan_without_lungs_has_no_tiles() -> None:
    volume = volume_of(np.full((8, 40, 40), 40.0), right_lung().affine_lps)
    scan = search(volume, finder(), settings=SMALL)
    assert (scan.tiles, scan.nodules, scan.reason) == (0, (), "no_lungs")
    assert scan.message.startswith("no lungs found")


@pytest.mark.slow
def test_less_effort_leaves_tiles_out_and_still_finds_what_stands_out() -> None:
    scans = [
        search(right_lung(*BALLS), finder(), settings=replace(SMALL, effort=effort))
        for effort in ("fast", "balanced", "full")
    ]
    assert [scan.tiles_planned for scan in scans] == sorted(s.tiles_planned for s in scans)
    assert scans[0].tiles_left_out > 0
    assert scans[2].tiles_left_out == 0
    for scan in scans:
        assert max(errors_mm(scan, *(ball.centre_lps_mm for ball in BALLS))) < 1.0


def test_only_the_most_probable_nodules_are_kept() -> None:
    scan = search(right_lung(*BALLS), finder(), settings=replace(SMALL, max_marks=1))
    assert scan.nodules == small_scan().nodules[:1]
    assert scan.marks_beyond_limit == 1


def test_progress_runs_from_the_plan_to_the_end() -> None:
    shares: list[float] = []
    scan = search(right_lung(), finder(), settings=SMALL, watch=Watch(progress=shares.append))
    assert len(shares) == scan.tiles + 2
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_candidates_are_told_as_soon_as_their_tile_is_finished() -> None:
    told: list[Nodule] = []
    shares: list[float] = []
    watch = Watch(
        progress=shares.append,
        candidates=lambda nodules: told.extend(nodules) if shares[-1] < 0.9 else None,
    )
    scan = search(right_lung(*BALLS), finder(), settings=SMALL, watch=watch)
    centres = np.array([nodule.centre_lps_mm for nodule in told])
    for nodule in scan.nodules:
        assert np.linalg.norm(centres - nodule.centre_lps_mm, axis=1).min() < 1.0


class Counting(BlobFinder):
    """Counts the tiles it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles = 0

    def forward(self, x: Tensor) -> CentreMaps:
        self.tiles += len(x)
        return super().forward(x)


def after(tiles: int) -> Any:
    """Return a clock by which time is up after so many tiles."""
    left = iter(range(tiles - 1, -1, -1))
    return lambda: next(left) == 0


def test_a_search_whose_time_is_up_goes_on_later_to_the_same_nodules(tmp_path: Path) -> None:
    volume, expected = right_lung(*BALLS), small_scan()
    path = tmp_path / "case.tiles"
    seen = 0
    for stop in (1, 3):
        model = Counting().eval()
        with TileJournal(path, key="one") as journal:
            means = SearchMeans(readers=0, is_time_up=after(stop))
            part = search(volume, model, settings=SMALL, means=means, journal=journal)
        assert model.tiles == stop - seen
        seen = stop
        assert part.is_partial
        assert (part.tiles, part.tiles_planned) == (stop, expected.tiles)
    model = Counting().eval()
    with TileJournal(path, key="one") as journal:
        whole = search(volume, model, settings=SMALL, journal=journal)
    assert seen + model.tiles == expected.tiles
    assert whole == expected
    assert not whole.is_partial


@pytest.mark.parametrize(
    "means",
    [
        SearchMeans(readers=0),
        SearchMeans(readers=3, read_ahead=5, blend_bytes=1),
        SearchMeans(readers=1, read_ahead=1, blend_bytes=2**20),
    ],
)
def test_what_a_search_may_use_changes_not_a_bit(means: SearchMeans) -> None:
    assert search(right_lung(*BALLS), finder(), settings=SMALL, means=means) == small_scan()


class Forgetful(TileJournal):
    """A journal on a full disk, without room in memory either."""

    def add(self, number: int, maps: Any) -> bool:
        return False


def test_maps_that_cannot_be_kept_are_made_again(tmp_path: Path) -> None:
    with Forgetful(tmp_path / "tiles", key="") as journal:
        scan = search(right_lung(*BALLS), finder(), settings=SMALL, journal=journal)
    assert scan == small_scan()


class Broken(nn.Module):
    stride = 2

    def forward(self, x: Tensor) -> CentreMaps:
        heat = F.avg_pool3d(x, 2) * float("nan")
        return CentreMaps(heat, heat, heat.expand(-1, 3, -1, -1, -1))


def test_a_model_that_answers_nonsense_is_named() -> None:
    with pytest.raises(ModelError, match="Broken answered a tile with numbers that are not"):
        search(right_lung(), Broken().eval(), settings=SMALL)


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"BlobFinder is in training mode; call .eval\(\)"):
        search(right_lung(), BlobFinder(), settings=SMALL)
