from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from medvit.geometry import index_to_lps
from medvit.volume.lungs import COARSE_MM, LungMap, find_lungs
from medvit.volume.region import Region
from medvit.volume.slabs import iter_slabs
from medvit.volume.volume import Volume, volume_of
from tests.make.chest import (
    Ball,
    centred_affine,
    in_ellipsoid,
    make_chest,
    positions_lps_mm,
    rearranged,
)


def inside(lungs: LungMap) -> Region:
    return Region(lungs.mask, lungs.affine_lps)


def has(lungs: LungMap, *points: tuple[float, float, float]) -> list[bool]:
    found: list[bool] = inside(lungs).contains(np.array(points)).tolist()
    return found


def covered(region: Region, ball: Ball) -> float:
    """Return the share of a ball's voxels, 1 mm wide, inside a region.

    What of it lies outside the lungs of `make_chest` is chest wall and not counted.
    """
    radius = ball.diameter_mm / 2
    steps = np.arange(-radius, radius + 0.5)
    offsets = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    offsets = offsets[in_ellipsoid(offsets, (0, 0, 0), (radius, radius, radius))]
    points = offsets + ball.centre_lps_mm
    in_lung = in_ellipsoid(np.abs(points), (70, 0, 0), (55, 80, 95))
    return float(region.contains(points[in_lung]).mean())


def test_both_lungs_are_found_and_nothing_else() -> None:
    lungs = find_lungs(make_chest(noise=np.random.default_rng(0)))
    assert not lungs.flagged
    assert lungs.message == "lungs found: 3.38 l of air-filled lung at a mean of -820 HU"
    assert has(lungs, (-70, 0, 0), (70, 0, 50)) == [True, True]
    assert has(lungs, (0, -20, -20), (0, 100, 0), (0, 145, 0), (300, 0, 0)) == [False] * 4


def test_nodules_on_the_pleura_and_inside_are_covered() -> None:
    balls = (
        Ball((-122, 0, 0), 16),
        Ball((70, 76, 10), 20),
        Ball((60, 0, 30), 24),
        Ball((-70, 0, 92), 12),
    )
    lungs = find_lungs(make_chest(balls=balls))
    assert covered(inside(lungs), balls[2]) == 1.0
    assert min(covered(lungs.region(), ball) for ball in balls) >= 0.99


def test_a_mass_at_the_hilum_is_searched() -> None:
    mass = Ball((-36, 10, 30), 44)
    lungs = find_lungs(make_chest(balls=(mass,)))
    assert lungs.region().contains(np.array([mass.centre_lps_mm])).all()


def test_the_way_a_scan_is_stored_does_not_move_the_lungs() -> None:
    chest = make_chest()
    expected = find_lungs(chest)
    lungs = find_lungs(rearranged(chest, (1, 2, 0), (0, 1)))
    assert (lungs.mask == expected.mask).all()
    np.testing.assert_allclose(lungs.affine_lps, expected.affine_lps, atol=1e-9)


def halved(volume: Volume) -> Volume:
    """Return the next level of a pyramid: means of 2x2x2 voxels."""
    hu = volume.read_all()
    for axis, length in enumerate(hu.shape):
        pairs = np.arange(0, length, 2)
        hu = np.add.reduceat(hu, pairs, axis=axis)
        sizes = np.diff([*pairs, length])
        hu /= np.moveaxis(np.broadcast_to(sizes, (1, 1, len(sizes))), 2, axis)
    affine = volume.affine_lps.copy()
    affine[:3, 3] += affine[:3, :3].sum(axis=1) / 2
    affine[:3, :3] *= 2
    return volume_of(hu, affine)


def test_a_coarser_level_shows_the_same_lungs() -> None:
    shape = (110, 90, 112)
    chest = make_chest(shape, centred_affine(shape, (2.2, 3.6, 3.6)))
    full, level = find_lungs(chest), find_lungs(halved(chest))
    assert level.volume_l == pytest.approx(full.volume_l, rel=0.02)
    assert not level.flagged
    for one, other in ((full, level), (level, full)):
        places = index_to_lps(one.affine_lps, np.argwhere(one.mask))
        assert inside(other).contains(places).mean() > 0.97
        assert other.region().contains(places).all()


def test_thin_and_large_slabs_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find_lungs(make_chest())
    monkeypatch.setattr("medvit.volume.lungs.iter_slabs", partial(iter_slabs, source_bytes=1))
    thin = find_lungs(make_chest())
    assert (thin.mask == whole.mask).all()
    assert thin.message == whole.message


@pytest.mark.parametrize(("slices", "step_mm"), [(16, 2.5), (12, 1.25), (3, 1.0), (25, 8.0)])
def test_a_part_of_a_scan_and_thick_slices_are_enough(slices: int, step_mm: float) -> None:
    shape = (slices, 64, 80)
    lungs = find_lungs(make_chest(shape, centred_affine(shape, (step_mm, 5, 5))))
    assert not lungs.flagged
    assert has(lungs, (-70, 0, 0), (70, 0, 0), (0, -20, -20)) == [True, True, False]


def test_lungs_cut_by_a_small_field_of_view_are_found() -> None:
    shape = (60, 40, 46)
    lungs = find_lungs(make_chest(shape, centred_affine(shape, (4, 5, 5))))
    assert not lungs.flagged
    assert has(lungs, (-70, 0, 0), (70, 0, 0)) == [True, True]


def test_a_head_has_no_lungs() -> None:
    shape = (40, 60, 60)
    affine = centred_affine(shape, (4, 4, 4))
    points = positions_lps_mm(shape, affine)
    hu = np.full(shape, -1000.0)
    hu[in_ellipsoid(points, (0, 0, 0), (75, 95, 100))] = 40
    hu[in_ellipsoid(points, (20, -70, -30), (15, 12, 15))] = -990
    lungs = find_lungs(volume_of(hu, affine))
    assert lungs.flagged
    assert lungs.reason == "no_lungs"
    assert lungs.message.startswith("no lungs found: no air-filled part of 100 ml")
    assert not lungs.mask.any()
    assert np.isnan(lungs.mean_hu)


def test_an_empty_room_has_no_lungs() -> None:
    shape = (5, 20, 20)
    lungs = find_lungs(volume_of(np.full(shape, -1000), centred_affine(shape, (5, 5, 5))))
    assert (lungs.reason, bool(lungs.mask.any())) == ("no_lungs", False)


def test_lungs_full_of_fluid_widen_the_search_to_the_body() -> None:
    chest = make_chest()
    hu = chest.read_all()
    hu[hu == -850] = -550
    lungs = find_lungs(volume_of(hu, chest.affine_lps))
    assert lungs.reason == "lungs_unsure"
    assert "expected 0.5 to 9 l at -950 to -600 HU" in lungs.message
    searched = lungs.region().contains(np.array([(0, -20, -20), (-70, 0, 0), (0, 145, 0)]))
    assert searched.tolist() == [True, True, False]


def read_nrrd_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Read a gzip NRRD of 64x64x79 labels as (z, y, x)."""
    import gzip

    header, _, body = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(b": ", 1) for line in header.splitlines() if b": " in line)
    sizes = [int(word) for word in fields[b"sizes"].split()]
    dtype = {b"unsigned char": "u1", b"unsigned short": "<u2", b"short": "<i2"}[fields[b"type"]]
    raw = gzip.decompress(body) if fields[b"encoding"].startswith(b"gz") else body
    return np.frombuffer(raw, dtype)[: int(np.prod(sizes))].reshape(sizes[::-1]) > 0


def open_series(folder: Path) -> Volume:
    from medvit.io.readers import open_volume

    return open_volume(folder)


@pytest.mark.shared_data
def test_lungs_agree_with_a_published_mask(shared_data: Path) -> None:
    folder = shared_data / "ct" / "cip_ct64"
    volume = open_series(folder / "dicom")
    truth = read_nrrd_mask(folder / "wholeLung-64.nrrd")
    lungs = find_lungs(volume)
    points = index_to_lps(volume.affine_lps, np.argwhere(truth))
    assert inside(lungs).contains(points).mean() > 0.985
    assert lungs.region().contains(points).mean() > 0.999
    assert lungs.mask.sum() * COARSE_MM**3 < 1.35 * truth.sum() * np.prod(volume.spacing_mm)


@pytest.mark.shared_data
def test_the_known_nodule_of_lidc_is_in_the_lungs(shared_data: Path) -> None:
    lungs = find_lungs(open_series(shared_data / "ct" / "lidc" / "LIDC-IDRI-0001"))
    assert not lungs.flagged
    steps = np.arange(-11.5, 12)
    around = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    nodule = around[(around**2).sum(axis=1) <= 11.675**2] + (56.208, 86.343, -115.868)
    assert inside(lungs).contains(nodule).mean() >= 0.95
    assert lungs.region().contains(nodule).all()


@pytest.mark.shared_data
def test_a_coarser_level_of_a_real_chest_shows_the_same_lungs(shared_data: Path) -> None:
    volume = open_series(shared_data / "ct" / "chest99")
    full = find_lungs(volume)
    level = find_lungs(halved(volume))  # slices 6 mm apart: coarser than any level in use
    assert level.volume_l == pytest.approx(full.volume_l, rel=0.04)
    places = index_to_lps(full.affine_lps, np.argwhere(full.mask))
    assert level.region().contains(places).mean() > 0.99


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("folder", "least_l", "most_l"),
    [
        ("chest99", 4.0, 5.0),
        ("lidc/LIDC-IDRI-0002", 0.2, 0.4),
        ("lung_pet_ct_dx/A0002/series3_B40f", 2.0, 3.2),
        ("dcmqi/ct-3slice", 0.03, 0.08),
    ],
)
def test_real_chests_have_lungs(
    shared_data: Path, folder: str, least_l: float, most_l: float
) -> None:
    lungs = find_lungs(open_series(shared_data / "ct" / folder))
    assert not lungs.flagged
    assert least_l < lungs.volume_l < most_l


@pytest.mark.shared_data
def test_a_real_head_is_refused(shared_data: Path) -> None:
    lungs = find_lungs(open_series(shared_data / "ct" / "dcm_qa_ct" / "Philips_S21570_S2010"))
    assert (lungs.reason, bool(lungs.mask.any())) == ("no_lungs", False)


@pytest.mark.shared_data
def test_the_mass_of_a_tumour_patient_is_searched(shared_data: Path) -> None:
    folder = shared_data / "ct" / "lung_pet_ct_dx" / "A0002" / "series3_B40f"
    # Middles of the annotated boxes on slices 13, 15 and 17, in LPS mm.
    middles = np.array([[-60.0, -96.4, 184.0], [-65.2, -105.7, 200.0], [-51.3, -105.1, 216.0]])
    assert find_lungs(open_series(folder)).region().contains(middles).all()
