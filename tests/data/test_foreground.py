"""Where patches are centred."""

from __future__ import annotations

import numpy as np

from medvit.data.foreground import Foreground, find_foreground
from medvit.volume.volume import volume_of
from tests.make.chest import centred_affine, in_ellipsoid, make_chest


def centres(found: Foreground, lungs_share: float, count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([found.draw_centre(rng, lungs_share=lungs_share) for _ in range(count)])


def test_lungs_and_body_are_where_the_chest_has_them() -> None:
    found = find_foreground(make_chest())
    in_lungs, in_body = centres(found, 1.0), centres(found, 0.0)
    near_lungs = in_ellipsoid(in_lungs, (-70, 0, 0), (65, 90, 105)) | in_ellipsoid(
        in_lungs, (70, 0, 0), (65, 90, 105)
    )
    assert near_lungs.all()
    assert in_ellipsoid(in_body, (0, 0, 0), (185, 130, 1e4)).all()  # not in air, nor on the table
    assert not in_ellipsoid(in_body, (0, 0, 0), (130, 90, 1e4)).all()


def test_both_lungs_and_all_heights_are_drawn() -> None:
    drawn = centres(find_foreground(make_chest()), 1.0)
    assert 0.3 < (drawn[:, 0] > 0).mean() < 0.7
    assert drawn[:, 2].min() < -60
    assert drawn[:, 2].max() > 60


def test_without_lungs_the_body_is_drawn_and_without_a_body_the_whole_grid() -> None:
    affine = centred_affine((20, 30, 30), (5.0, 5.0, 5.0))
    solid = find_foreground(volume_of(np.full((20, 30, 30), 40.0), affine))
    assert not solid.lungs.all().any()
    assert len(np.unique(centres(solid, 1.0)[:, 0])) == 200
    empty = find_foreground(volume_of(np.full((20, 30, 30), -1000.0), affine))
    assert empty.body.all().all()


def test_the_masks_of_a_chest_take_little_memory() -> None:
    found = find_foreground(make_chest())
    assert found.body.bits.nbytes + found.lungs.bits.nbytes < 40 * 1024
