"""Left and right, and thirds of the lungs."""

from __future__ import annotations

import ast
import gzip
from pathlib import Path

import numpy as np
import pytest

from medvit.geometry import affine_from
from medvit.io.readers import open_volume
from medvit.volume.lung_sides import find_sides
from medvit.volume.lungs import LungMap, find_lungs
from medvit.volume.morphology import Mask

SIDE_MM = 3.0


def lungs_of(mask: Mask) -> LungMap:
    affine = affine_from((0, 0, 0), (0, 0, SIDE_MM), (0, SIDE_MM, 0), (SIDE_MM, 0, 0))
    return LungMap(mask, mask, affine, SIDE_MM, 3.0, -820.0, "", "")


def two_lungs() -> Mask:
    mask = np.zeros((40, 20, 60), dtype=bool)
    mask[5:35, 4:16, 6:26] = True
    mask[5:35, 4:16, 34:54] = True
    return mask


def test_the_patients_right_is_where_x_is_small() -> None:
    sides = find_sides(lungs_of(two_lungs()))
    assert sides.side_of((45.0, 30.0, 60.0)) == "right"
    assert sides.side_of((135.0, 30.0, 60.0)) == "left"
    assert sides.side_of((500.0, 30.0, -90.0)) == "left"  # nearest, also beyond the grid


def test_a_lung_that_reaches_across_stays_one_lung() -> None:
    mask = two_lungs()
    mask[18:22, 4:6, 26:32] = True
    assert find_sides(lungs_of(mask)).side_of((31 * SIDE_MM, 5 * SIDE_MM, 20 * SIDE_MM)) == "right"


def test_lungs_that_touch_are_divided_between_them() -> None:
    mask = two_lungs()
    mask[18:22, 4:6, 26:34] = True
    sides = find_sides(lungs_of(mask))
    assert [sides.side_of((x * SIDE_MM, 15.0, 60.0)) for x in (27, 32)] == ["right", "left"]


def test_one_lung_alone_has_no_side() -> None:
    mask = two_lungs()
    mask[..., 30:] = False
    assert find_sides(lungs_of(mask)).side_of((45.0, 30.0, 60.0)) == ""


def test_thirds_hold_the_same_volume_and_need_whole_lungs() -> None:
    sides = find_sides(lungs_of(two_lungs()))
    heights = [SIDE_MM * z for z in (13.9, 15.1, 23.9, 25.1)]
    thirds = [sides.third_of((45.0, 30.0, z)) for z in heights]
    assert thirds == ["lower", "middle", "middle", "upper"]
    assert find_sides(lungs_of(two_lungs()[5:])).third_of((45.0, 30.0, 60.0)) == ""
    assert find_sides(lungs_of(two_lungs() & False)).third_of((45.0, 30.0, 60.0)) == ""


@pytest.mark.shared_data
def test_sides_and_thirds_are_those_of_a_labelled_chest(shared_data: Path) -> None:
    """The labels 9 to 14 are the upper, middle, lower third on the left, then on the right."""
    folder = shared_data / "ct" / "cip_ct64"
    header, _, packed = (folder / "lm-64.nrrd").read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    labels = np.frombuffer(gzip.decompress(packed), "<u2").reshape(79, 64, 64) & 255
    origin_mm = np.array(ast.literal_eval(fields["space origin"]))
    steps_mm = np.diag(ast.literal_eval(fields["space directions"].replace(" ", ",")))
    sides = find_sides(find_lungs(open_volume(folder / "dicom")))
    places = np.argwhere(labels)[::41]
    right_side = right_third = 0
    for place in places:
        x_mm, y_mm, z_mm = (origin_mm + place[::-1] * steps_mm).tolist()
        number = int(labels[tuple(place)]) - 9
        right_side += sides.side_of((x_mm, y_mm, z_mm)) == ("left", "right")[number // 3]
        third = ("upper", "middle", "lower")[number % 3]
        right_third += sides.third_of((x_mm, y_mm, z_mm)) == third
    assert len(places) > 1000
    assert right_side == len(places)
    assert right_third > 0.95 * len(places)
