from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, permutations

from medvit.errors import ReadError
from medvit.io.dicom.doubles import find_doubles
from medvit.io.dicom.header import SliceHeader
from tests.make.dicom_headers import header

Values = npt.NDArray[np.float64]


def slices(heights: list[float], **tags: Any) -> list[SliceHeader]:
    start = tags.pop("start", 0)
    assert isinstance(start, int)
    return [header((0, 0, z), name=f"{start + n}.dcm", **tags) for n, z in enumerate(heights)]


def by_height(header: SliceHeader) -> Values:
    assert header.placement.position_mm is not None
    return np.full((2, 3), header.placement.position_mm[2])


def by_name(header: SliceHeader) -> Values:
    return np.full((2, 3), float(header.path.stem))


def unread(header: SliceHeader) -> Values:
    pytest.fail(f"{header.path} was read")


def test_slices_at_places_of_their_own_are_not_read() -> None:
    found = find_doubles(slices([4, 0, 2]), unread)
    assert [h.path.name for h in found.kept] == ["1.dcm", "2.dcm", "0.dcm"]
    assert (found.dropped, found.fault) == ((), None)


def test_a_copy_is_dropped_and_named() -> None:
    found = find_doubles(slices([0, 2, 2, 4]), by_height)
    assert [h.path.name for h in found.kept] == ["0.dcm", "1.dcm", "3.dcm"]
    assert [h.path.name for h in found.dropped] == ["2.dcm"]
    assert found.fault is not None
    assert found.fault.as_repair.message == (
        "1.dcm and 2.dcm share 2.00 mm along the normal (1 of 3 positions are held more than "
        "once); their HU are equal in every pixel, so the copies are left out: 2.dcm"
    )


@settings(deadline=None)
@given(order=permutations(range(8)), twice=lists(integers(0, 3), min_size=4, max_size=4))
def test_which_copy_stays_does_not_depend_on_the_order(order: list[int], twice: list[int]) -> None:
    headers = slices([0, 2, 4, 6, *(2.0 * place for place in twice)])
    found = find_doubles([headers[number] for number in order], by_height)
    assert [h.path.name for h in found.kept] == ["0.dcm", "1.dcm", "2.dcm", "3.dcm"]
    assert {h.path.name for h in found.dropped} == {"4.dcm", "5.dcm", "6.dcm", "7.dcm"}


def test_many_copies_are_counted() -> None:
    found = find_doubles([*slices([0, 2, 4, 6, 8]), *slices([0, 2, 4, 6, 8], start=5)], by_height)
    assert found.fault is not None
    assert found.fault.remedy.endswith("left out: 5.dcm, 6.dcm, 7.dcm and 2 more")


def test_a_contradiction_names_both_files_and_the_difference() -> None:
    found = find_doubles(slices([0, 2, 2, 4, 6]), by_name)
    assert found.fault is not None
    assert (found.fault.code, found.fault.remedy) == ("duplicate_positions", "")
    assert "1.dcm and 2.dcm share 2.00 mm" in found.fault.fact
    assert "differ in 6 pixels by up to 1 HU" in found.fault.fact
    assert found.fault.way_out.endswith("no tag that is read differs")


def test_a_contradiction_by_the_last_bit_is_one() -> None:
    def read(header: SliceHeader) -> Values:
        return by_height(header) + (1e-9 if header.path.name == "2.dcm" else 0)

    found = find_doubles(slices([0, 2, 2, 4]), read)
    assert found.fault is not None
    assert found.fault.remedy == ""


TAGS: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "acquisitions": (
        {"acquisition": "1"},
        {"acquisition": "2"},
        "separate them by AcquisitionNumber '1' and '2'",
    ),
    "image types": (
        {"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "A")},
        {"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "B")},
        r"ImageType 'ORIGINAL\\PRIMARY\\AXIAL\\A' and ",
    ),
    "nothing": ({}, {}, "separate them by their files: no tag that is read differs"),
}


@pytest.mark.parametrize("name", TAGS)
def test_two_scans_in_one_are_mixed_series_and_told_apart(name: str) -> None:
    one, other, words = TAGS[name]
    headers = [*slices([0, 2, 4, 6], **one), *slices([0, 2, 4, 6], start=4, **other)]
    found = find_doubles(headers, by_name)
    assert found.fault is not None
    assert (found.fault.code, found.fault.remedy) == ("mixed_series", "")
    assert "4 of 4 positions are held more than once" in found.fault.fact
    assert words in found.fault.way_out


def test_a_copied_series_with_one_altered_slice_is_no_second_scan() -> None:
    def read(header: SliceHeader) -> Values:
        return by_height(header) + (header.path.name == "7.dcm")

    found = find_doubles([*slices([0, 2, 4, 6]), *slices([0, 2, 4, 6], start=4)], read)
    assert found.fault is not None
    assert found.fault.code == "duplicate_positions"
    assert "3.dcm and 7.dcm share 6.00 mm" in found.fault.fact


def test_comparing_ends_at_the_first_contradiction() -> None:
    read: list[str] = []

    def noted(header: SliceHeader) -> Values:
        read.append(header.path.name)
        return by_name(header)

    find_doubles([*slices([0, 2, 4]), *slices([0, 2, 4], start=3)], noted)
    assert read == ["0.dcm", "3.dcm"]


def test_slices_of_one_plane_at_different_places_contradict_without_being_read() -> None:
    headers = [*slices([0, 2, 4]), header((7.0, 0, 2.0), name="3.dcm")]
    found = find_doubles(headers, unread)
    assert found.fault is not None
    assert found.fault.code == "duplicate_positions"
    assert "lie 7.00 mm apart within the plane" in found.fault.fact


def test_all_slices_at_one_place_are_no_two_scans() -> None:
    found = find_doubles(slices([5, 5, 5, 5]), by_name)
    assert found.fault is not None
    assert found.fault.code == "duplicate_positions"
    assert len(found.kept) == 1


def test_frames_of_one_file_are_told_apart_by_their_numbers() -> None:
    frames = [header((0, 0, z), frame=n, frames=6) for n, z in enumerate([0, 2, 4, 0, 2, 4])]
    found = find_doubles(frames, lambda h: np.full((1, 1), float(h.frame)))
    assert found.fault is not None
    assert found.fault.code == "mixed_series"
    assert "a.dcm frame 1 and a.dcm frame 4 share 0.00 mm" in found.fault.fact


def test_a_double_that_cannot_be_read_is_not_taken_for_a_copy() -> None:
    def refuse(_: SliceHeader) -> Values:
        msg = "b.dcm: gone"
        raise ReadError(msg, reason="unreadable")

    with pytest.raises(ReadError, match="gone"):
        find_doubles(slices([0, 2, 2, 4]), refuse)
