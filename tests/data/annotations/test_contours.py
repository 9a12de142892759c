from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medvit.data.annotations.contours import Contour, SlicePlaces, enclosed, measure
from medvit.errors import InputError
from medvit.io.dicom.series import read_series
from tests.make.annotated import square
from tests.make.dicom import CORONAL, CtSeries, write_series


def contour(points: list[tuple[int, int]], *, sop_uid: str = "", is_hole: bool = False) -> Contour:
    return Contour(sop_uid, -28.0, is_hole, np.array(points))


def test_a_contour_lies_outside_and_so_does_a_hole_with_its_own() -> None:
    outer = contour(square(2, 3, 7))
    assert len(enclosed([outer])) == 25
    assert enclosed([outer]).min(axis=0).tolist() == [3, 4]
    hole = contour(square(4, 5, 3), is_hole=True)
    assert len(enclosed([outer, hole])) == 25 - 9
    assert len(enclosed([outer, contour(square(20, 20, 4))])) == 25 + 4


def test_a_gap_in_a_contour_is_closed() -> None:
    corners = [(0, 0), (6, 0), (6, 6), (0, 6)]
    assert len(enclosed([contour(corners)])) == 25
    assert len(enclosed([contour([(3, 4)])])) == 0


def test_centre_and_volume_are_those_of_the_pixels_inside(tmp_path: Path) -> None:
    series = CtSeries(hu=np.zeros((5, 16, 12), np.int16))  # 2 x 1 x 0.5 mm from (-10, -20, -30)
    headers = read_series(write_series(tmp_path, series))
    uids = {header.placement.position_mm: header.sop_uid for header in headers}
    places = SlicePlaces({header.sop_uid: header for header in headers}, 2.0)
    own = [
        contour(square(2, 4, 5), sop_uid=uids[-10.0, -20.0, z_mm]) for z_mm in (-30.0, -28.0, -26.0)
    ]
    found = measure(own, places)
    assert found.centre_mm == pytest.approx((-10 + 4 * 0.5, -20 + 6, -28))
    assert found.volume_mm3 == 27 * 0.5 * 1 * 2
    assert found.diameter_mm == pytest.approx((6 * 27 / np.pi) ** (1 / 3))
    point = measure([contour([(3, 5)], sop_uid=uids[-10.0, -20.0, -26.0])], places)
    assert point.centre_mm == (-8.5, -15.0, -26.0)
    assert point.volume_mm3 == 0


def test_a_slice_that_is_not_there_is_placed_by_its_height_if_axial(tmp_path: Path) -> None:
    headers = read_series(write_series(tmp_path / "axial"))
    places = SlicePlaces({header.sop_uid: header for header in headers}, 2.0)
    found = measure([contour([(2, 1)], sop_uid="1.2.3")], places)
    assert found.centre_mm == (-9.0, -19.0, -28.0)
    coronal = read_series(write_series(tmp_path / "other", CtSeries(orientation=CORONAL)))
    places = SlicePlaces({header.sop_uid: header for header in coronal}, 2.0)
    with pytest.raises(InputError, match=r"slice 1\.2\.3 is not there, and its series is not"):
        measure([contour([(2, 1)], sop_uid="1.2.3")], places)
