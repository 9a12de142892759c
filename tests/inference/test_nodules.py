from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.errors import ModelError
from medvit.geometry import affine_from, index_to_lps
from medvit.inference.nodules import (
    NoduleScan,
    NoduleSettings,
    decode,
    detect_nodules,
)
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


@cache
def small_scan() -> NoduleScan:
    return detect_nodules(right_lung(*BALLS), finder(), settings=SMALL)


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


@pytest.mark.parametrize(
    ("order", "turned"), [((0, 1, 2), (0,)), ((1, 2, 0), (1, 2)), ((2, 0, 1), (0, 1, 2))]
)
def test_how_the_scan_is_stored_does_not_move_its_nodules(
    order: tuple[int, int, int], turned: tuple[int, ...]
) -> None:
    volume = rearranged(right_lung(*BALLS), order, turned)
    scan = detect_nodules(volume, finder(), settings=SMALL)
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
    scan = detect_nodules(volume, finder(), settings=SMALL)
    centres = [turn[:3, :3] @ np.array(ball.centre_lps_mm) for ball in BALLS]
    assert max(errors_mm(scan, *((c[0], c[1], c[2]) for c in centres))) < 1.0


@pytest.mark.parametrize(("side", "overlap"), [(64, 24), (56, 36), (96, 24)])
def test_where_tiles_end_does_not_change_the_nodules(side: int, overlap: int) -> None:
    volume, expected = right_lung(*BALLS), small_scan()
    scan = detect_nodules(
        volume, finder(), settings=NoduleSettings(tile_side=side, overlap=overlap)
    )
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
    scan = detect_nodules(volume, finder(), settings=SMALL, lungs=without)
    assert len(scan.nodules) == 1
    assert errors_mm(scan, BALLS[0].centre_lps_mm)[0] < 1.0
    assert scan.marks_outside_lungs == 1


def test_a_scan_without_lungs_has_no_tiles() -> None:
    volume = volume_of(np.full((8, 40, 40), 40.0), right_lung().affine_lps)
    scan = detect_nodules(volume, finder(), settings=SMALL)
    assert (scan.tiles, scan.nodules, scan.reason) == (0, (), "no_lungs")
    assert scan.message.startswith("no lungs found")


def test_tiles_without_lung_are_counted_and_skipped() -> None:
    volume = right_lung()
    lungs = find_lungs(volume)
    corners = np.zeros_like(lungs.mask)
    corners[2, 2, 2] = corners[-3, -3, -3] = True
    scan = detect_nodules(volume, finder(), settings=SMALL, lungs=replace(lungs, search=corners))
    assert scan.tiles_without_lung > scan.tiles > 0


def test_only_the_most_probable_nodules_are_kept() -> None:
    scan = detect_nodules(right_lung(*BALLS), finder(), settings=replace(SMALL, max_marks=1))
    assert scan.nodules == small_scan().nodules[:1]
    assert scan.marks_beyond_limit == 1


def test_progress_runs_from_the_lungs_to_the_end() -> None:
    shares: list[float] = []
    scan = detect_nodules(right_lung(), finder(), settings=SMALL, progress=shares.append)
    assert len(shares) == scan.tiles + 1
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def maps_of(heat: npt.NDArray[np.float32]) -> CentreMaps:
    logits = torch.from_numpy(heat)[None, None]
    return CentreMaps(logits, torch.zeros_like(logits), torch.zeros(1, 3, *heat.shape))


def test_a_peak_is_decoded_as_the_head_says() -> None:
    heat = np.full((4, 4, 4), -9.0, dtype=np.float32)
    heat[1, 2, 3] = 0.0
    heat[1, 2, 2] = -1.0
    maps = maps_of(heat)
    maps.log_diameter[0, 0, 1, 2, 3] = np.log(7.0)
    maps.offset[0, :, 1, 2, 3] = torch.tensor([0.25, -0.5, 0.0])
    marks = decode(maps, stride=2.0, min_probability=0.2)
    np.testing.assert_allclose(marks.centres, [[3.0, 3.5, 6.5]])
    np.testing.assert_allclose(marks.diameters_mm, [7.0], rtol=1e-6)
    assert marks.scores.tolist() == [0.5]


def test_an_absurd_diameter_is_held_within_bounds() -> None:
    maps = maps_of(np.zeros((1, 1, 1), dtype=np.float32))
    marks = decode(maps._replace(log_diameter=maps.log_diameter + 500), stride=2, min_probability=0)
    np.testing.assert_allclose(marks.diameters_mm, [100.0])


class Broken(nn.Module):
    def forward(self, x: Tensor) -> CentreMaps:
        heat = F.avg_pool3d(x, 2) * float("nan")
        return CentreMaps(heat, heat, heat.expand(-1, 3, -1, -1, -1))


def test_a_model_that_answers_nonsense_is_named() -> None:
    with pytest.raises(ModelError, match="Broken answered a tile with numbers that are not"):
        detect_nodules(right_lung(), Broken().eval(), settings=SMALL)


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"BlobFinder is in training mode; call .eval\(\)"):
        detect_nodules(right_lung(), BlobFinder(), settings=SMALL)
