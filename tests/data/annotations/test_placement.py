from __future__ import annotations

import numpy as np
import pytest

from medvit.data.annotations.collected import SourcedMark
from medvit.data.annotations.placement import (
    Frame,
    Outside,
    check_lungs,
    in_frame,
    mean_hu,
    outside_marks,
    refuse_outside,
)
from medvit.errors import InputError
from medvit.io.pyramids import hold_pyramid
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import volume_of
from tests.make.annotated import chest_with
from tests.make.chest import Ball
from tests.make.volumes import AFFINE_LPS, HU

FRAME = Frame((5, 6, 7), AFFINE_LPS)
"""From (-10, 20, -30.5) to (-7, 23.75, -22.5) LPS mm between the centres of voxels."""


def mark(x: float, y: float, z: float, diameter: float = 12.0) -> SourcedMark:
    return SourcedMark("scan", (x, y, z, diameter), f"marks.csv, line {round(abs(x))}")


@pytest.mark.parametrize(
    ("point", "is_inside"),
    [
        ((-10.25, 19.625, -31.5), True),  # the outer corner of the first voxel
        ((-6.75, 24.125, -21.5), True),
        ((-10.26, 20, -30), False),
        ((-8, 24.2, -30), False),
        ((-8, 21, -21.4), False),
    ],
)
def test_a_scan_ends_at_the_faces_of_its_voxels(
    point: tuple[float, float, float], is_inside: bool
) -> None:
    assert in_frame(FRAME)(np.array([point])).tolist() == [is_inside]


def test_marks_outside_are_named_with_both_shares() -> None:
    marks = [mark(-9, 21, -30), mark(9, -21, -30), mark(7, -22, -29), mark(8, -23, -28)]
    outside, counts = outside_marks(marks, {"scan": FRAME})
    assert list(outside) == marks[1:]
    assert counts == Outside(as_given=3, turned=1, marks=4)
    assert counts.looks_turned()
    with pytest.raises(InputError) as error:
        refuse_outside(outside, counts)
    assert error.value.message.startswith(
        "marks.csv, line 9: (9.0, -21.0, -30.0) lies outside of its scan; marks.csv, line 7: "
    )
    assert "3 of 4 (75%) as given, 1 (25%) with x and y turned: is it RAS?" in error.value.hint
    refuse_outside([], Outside(0, 0, 4))


def test_the_mean_around_a_point_is_that_of_the_voxels_within_reach() -> None:
    volume = volume_of(HU, AFFINE_LPS)
    centre = np.array([-10 + 0.5 * 3, 20 + 0.75 * 2, -30.5 + 2 * 2])
    assert mean_hu(volume, centre, 0.1) == HU[2, 2, 3]
    assert mean_hu(volume, centre, 0.6) == pytest.approx(HU[2, 2, 2:5].mean())
    assert np.isnan(mean_hu(volume, centre + 100, 3.0))


PLACES = [(-75.0, 40.0, 20.0), (-60.0, -30.0, 40.0), (70.0, 45.0, -30.0), (65.0, -20.0, 10.0)]


@pytest.fixture(scope="module")
def chest() -> Pyramid:
    """Return a chest that lies around the origin: turned marks fall into the other lung."""
    return hold_pyramid(chest_with(*(Ball(place, 16.0) for place in PLACES)))


def test_coordinates_in_ras_are_told_by_what_they_lie_on(chest: Pyramid) -> None:
    right = [mark(*place, 16.0) for place in PLACES]
    check_lungs(right, lambda _name: chest)
    turned = [mark(-x, -y, z, 16.0) for x, y, z in PLACES]
    with pytest.raises(InputError, match="look like RAS") as error:
        check_lungs(turned, lambda _name: chest)
    assert "4 of 4 (100%) as given, 0 (0%) with x and y turned" in error.value.message
    assert "coordinates=ras" in error.value.hint


def test_a_few_odd_marks_are_no_reason_to_refuse(
    chest: Pyramid, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [mark(0, 0, 0), mark(0, 100, 0)]  # in the heart and in the back
    check_lungs([*(mark(*place, 16.0) for place in PLACES), *odd], lambda _name: chest)
    assert not caplog.records
    check_lungs([mark(*PLACES[0], 16.0), *odd], lambda _name: chest)
    assert "2 of 3 (67%) as given, 3 (100%) with x and y turned" in caplog.text
