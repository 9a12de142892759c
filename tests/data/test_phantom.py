"""Made chests are bodies with lungs, the nodules lie where they are said to, twice the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medvit.data.chest.fields import Space
from medvit.data.chest.parenchyma import Lines, draw_lines_into
from medvit.data.chest.tubes import join, tubes_along
from medvit.data.phantom import Phantom, PhantomSpec, draw_phantom, make_phantom
from medvit.geometry import lps_to_index, spacing_of

COARSE = (4.0, 4.0, 4.0)


def make(seed: int, n_nodules: int = 3) -> tuple[PhantomSpec, Phantom]:
    rng = np.random.default_rng(seed)
    spec = sparse(draw_phantom(rng, spacing_mm=COARSE, n_nodules=n_nodules))
    return spec, make_phantom(spec, rng)


def sparse(spec: PhantomSpec, n_tips: int = 60) -> PhantomSpec:
    """Return a spec with few vessels, which take most of the time."""
    return replace(spec, body=replace(spec.body, n_tips=n_tips))


@pytest.fixture(scope="module")
def made() -> tuple[PhantomSpec, Phantom]:
    return make(4)


def test_the_lungs_have_the_volume_of_lungs(made: tuple[PhantomSpec, Phantom]) -> None:
    _, phantom = made
    litres = phantom.lung_mask.sum() * np.prod(phantom.spacing_mm) / 1e6
    assert 2.5 < litres < 9


def test_attenuation_is_that_of_air_lung_and_tissue(made: tuple[PhantomSpec, Phantom]) -> None:
    spec, phantom = made
    inside = phantom.hu[phantom.lung_mask]
    assert phantom.hu.dtype == np.int16
    assert abs(float(np.median(inside)) - spec.body.lung_hu) < 60
    assert phantom.hu.min() >= -1024
    assert 300 < phantom.hu.max() <= 3071
    assert 0.05 < float(((phantom.hu > -20) & (phantom.hu < 90)).mean()) < 0.7


def test_geometry_and_voxels_agree(made: tuple[PhantomSpec, Phantom]) -> None:
    spec, phantom = made
    assert phantom.hu.shape == spec.shape == phantom.lung_mask.shape
    assert spacing_of(phantom.affine_lps) == pytest.approx(spec.spacing_mm)


def test_nodules_are_in_the_lungs_and_bright(made: tuple[PhantomSpec, Phantom]) -> None:
    _, phantom = made
    assert phantom.nodules
    for nodule in phantom.nodules:
        index = np.rint(lps_to_index(phantom.affine_lps, nodule.centre_lps_mm)).astype(int)
        assert phantom.lung_mask[tuple(index)]
        assert 3 <= nodule.diameter_mm <= 30


def test_no_two_nodules_touch(made: tuple[PhantomSpec, Phantom]) -> None:
    nodules = made[1].nodules
    for first, one in enumerate(nodules):
        for other in nodules[first + 1 :]:
            apart = np.linalg.norm(np.subtract(one.centre_lps_mm, other.centre_lps_mm))
            assert apart > (one.diameter_mm + other.diameter_mm) / 2


def test_one_seed_makes_one_phantom(made: tuple[PhantomSpec, Phantom]) -> None:
    spec, phantom = made
    again_spec, again = make(4)
    assert again_spec == spec
    np.testing.assert_array_equal(again.hu, phantom.hu)
    assert again.nodules == phantom.nodules


def test_seeds_make_different_people() -> None:
    bodies = {draw_phantom(np.random.default_rng(seed)).body for seed in range(20)}
    assert len(bodies) == 20
    assert len({body.breast_mm > 0 for body in bodies}) == 2


def test_a_phantom_without_nodules_has_none() -> None:
    rng = np.random.default_rng(9)
    spec = sparse(draw_phantom(rng, spacing_mm=COARSE, shape=(20, 40, 50), n_nodules=0))
    phantom = make_phantom(spec, rng)
    assert phantom.nodules == ()
    assert phantom.hu.shape == (20, 40, 50)


def test_a_drawn_scan_is_square_and_of_the_size_asked_for() -> None:
    spec = draw_phantom(np.random.default_rng(2), image_px=256)
    assert spec.shape[1:] == (256, 256)
    assert spec.psf_fwhm_mm[0] >= spec.spacing_mm[0]


@pytest.mark.slow
def test_a_slab_holds_no_more_vessels_than_the_same_slices_of_a_whole_chest() -> None:
    whole = sparse(draw_phantom(np.random.default_rng(6), spacing_mm=COARSE, n_nodules=0), 600)
    z_mm, y_mm, x_mm = whole.origin_mm
    depth = whole.shape[0] // 3
    slab = replace(
        whole, shape=(depth, *whole.shape[1:]), origin_mm=(z_mm + depth * COARSE[0], y_mm, x_mm)
    )
    vessels = []
    for spec, start in ((whole, depth), (slab, 0)):
        phantom = make_phantom(replace(spec, noise_sd_hu=0.1), np.random.default_rng(7))
        seen = slice(start + 3, start + depth - 3)
        inside = phantom.hu[seen][phantom.lung_mask[seen]]
        vessels.append(float((inside > -600).mean()))
    assert vessels[1] == pytest.approx(vessels[0], rel=0.5)


def test_a_wide_scan_ends_in_a_circle_and_holds_the_whole_body() -> None:
    drawn = [draw_phantom(np.random.default_rng(seed)) for seed in range(40)]
    assert {0.5, 5.0} <= {spec.spacing_mm[0] for spec in drawn}
    assert 8 <= sum(spec.is_round for spec in drawn) <= 26
    spec = sparse(draw_phantom(np.random.default_rng(3), spacing_mm=COARSE, n_nodules=0))
    phantom = make_phantom(
        replace(spec, shape=(6, 90, 90), is_round=True), np.random.default_rng(3)
    )
    assert (phantom.hu[:, [0, 0, -1, -1], [0, -1, 0, -1]] == -1024).all()
    assert (phantom.hu[:, 45, 45] > -1024).all()


def test_distractors_are_as_many_as_nodules_and_apart_from_them(
    made: tuple[PhantomSpec, Phantom],
) -> None:
    _, phantom = made
    assert len(phantom.distractors) == len(phantom.nodules) == 3
    for decoy in phantom.distractors:
        for nodule in phantom.nodules:
            apart_mm = np.linalg.norm(np.subtract(decoy.centre_lps_mm, nodule.centre_lps_mm))
            assert apart_mm > nodule.diameter_mm / 2 + 10


def test_only_the_kinds_asked_for_are_planted() -> None:
    rng = np.random.default_rng(8)
    spec = sparse(draw_phantom(rng, spacing_mm=COARSE, n_nodules=4))
    phantom = make_phantom(replace(spec, kinds=("ground_glass",)), rng)
    assert {nodule.kind for nodule in phantom.nodules} == {"ground_glass"}


def test_airway_walls_take_up_no_contrast() -> None:
    space = Space((0, 0, 0), (1, 1, 1), (5, 15, 15))
    line = np.array([[0.0, 7.0, 7.0], [4.0, 7.0, 7.0]])
    wall, lumen = (tubes_along(line, np.full(2, r)) for r in (5.0, 3.0))
    hu = np.full(space.shape, -850, np.float32)
    draw_lines_into(hu, Lines(join([]), wall, lumen), space, blood_hu=300)
    assert hu.max() < 60
    assert hu[2, 7, 7] == pytest.approx(-985)
