from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import RLELossless

from medvit.io.case import Reason
from medvit.io.dicom.header import SliceHeader, read_header
from medvit.io.dicom.series_rules import encoding_faults, interleaved, judge_slices, remarks_on
from tests.make.dicom import CORONAL, compressed_slice, edit, write_series
from tests.make.dicom_headers import header, stack_at

LOCALIZER = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def headers_in(folder: Path) -> list[SliceHeader]:
    return [read_header(path) for path in sorted(folder.iterdir())]


def reasons_in(folder: Path) -> tuple[Reason, ...]:
    return judge_slices(headers_in(folder))


def test_a_sound_series_has_no_reason(tmp_path: Path) -> None:
    write_series(tmp_path)
    assert reasons_in(tmp_path) == ()


ODD: dict[str, tuple[dict[str, Any], str, str]] = {
    "direction": (
        {"ImageOrientationPatient": list(CORONAL)},
        "mixed_orientation",
        "lie in 2 different directions",
    ),
    "pixel spacing": (
        {"PixelSpacing": [1.0, 0.6]},
        "mixed_series",
        "pixel spacing (1.0, 0.5) and (1.0, 0.6) mm",
    ),
    "frame": ({"FrameOfReferenceUID": "1.2.3"}, "mixed_series", "2 different frames of reference"),
    "study": ({"StudyInstanceUID": "1.2.3"}, "mixed_series", "2 different studies"),
    "series": ({"SeriesInstanceUID": "1.2.3"}, "mixed_series", "2 different series"),
    "size": ({"Rows": 12, "Columns": 16}, "mixed_series", "12x16 and 16x12 pixels"),
    "unit": ({"RescaleType": None}, "inconsistent_rescale", "rescale types 'HU' and ''"),
    "no rescale": (
        {"RescaleSlope": None, "RescaleIntercept": None},
        "inconsistent_rescale",
        "while other slices have them; export it again (1 of 5 files)",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_one_odd_slice_gives_the_series_its_reason(tmp_path: Path, name: str) -> None:
    tags, code, words = ODD[name]
    odd = edit(write_series(tmp_path)[3], **tags)
    (reason,) = reasons_in(tmp_path)
    assert reason.code == code
    assert words in reason.message
    assert odd.name in reason.message


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleIntercept": -1000},
        {"SliceThickness": 99},
        {"SpacingBetweenSlices": 99},
        {"InstanceNumber": 1},
        {"InstanceNumber": None},
        {"AcquisitionNumber": 7},
    ],
)
def test_what_says_nothing_of_place_or_value_breaks_no_rule(
    tmp_path: Path, tags: dict[str, Any]
) -> None:
    edit(write_series(tmp_path)[3], **tags)
    assert reasons_in(tmp_path) == ()


def test_two_kernels_are_two_series_and_counted(tmp_path: Path) -> None:
    for number, path in enumerate(write_series(tmp_path)):
        edit(path, ConvolutionKernel="B30f" if number % 2 else "B70f")
    (reason,) = reasons_in(tmp_path)
    assert reason.code == "mixed_series"
    assert "with kernel 'B70f' (3 slices) and 'B30f' (2 slices)" in reason.message


def test_a_kernel_that_is_not_told_contradicts_none(tmp_path: Path) -> None:
    edit(write_series(tmp_path)[3], ConvolutionKernel="B30f")
    assert reasons_in(tmp_path) == ()


def test_files_that_share_a_fault_are_counted_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for path in paths[:3]:
        edit(path, ImageType=LOCALIZER)
    edit(paths[4], RescaleType="OD")
    reasons = judge_slices([read_header(path) for path in paths])
    assert [reason.code for reason in reasons] == ["localizer", "not_hu"]
    assert reasons[0].message.endswith("(3 of 5 files)")


def test_a_series_wholly_without_rescale_is_not_hu(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        edit(path, RescaleSlope=None, RescaleIntercept=None)
    assert [reason.code for reason in reasons_in(tmp_path)] == ["not_hu"]


def test_frames_without_a_place_are_missed(tmp_path: Path) -> None:
    path = write_series(tmp_path)[0]
    sound = read_header(path)
    frames = [
        replace(
            sound,
            frame=number,
            layout=replace(sound.layout, frames=3, rows=8, columns=8),
            sop_class="1.2.840.10008.5.1.4.1.1.2.1",
        )
        for number in range(3)
    ]
    assert judge_slices(frames) == ()
    (reason,) = judge_slices(frames[:2])
    assert reason.code == "wrong_dimensions"
    assert "3 frames, and a place for 2 of them" in reason.message


def acquired(acquisitions: list[str]) -> list[str]:
    stack = stack_at([2.0 * number for number in range(len(acquisitions))])
    headers = [
        replace(each, acquisition=name)
        for each, name in zip(stack.headers, acquisitions, strict=True)
    ]
    fault = interleaved(replace(stack, headers=tuple(headers)))
    return [] if fault is None else [fault.code, fault.fact]


def test_acquisitions_that_alternate_are_two_series() -> None:
    code, fact = acquired(["1", "2"] * 4)
    assert code == "mixed_series"
    assert "acquisitions '1' and '2' lie among each other over 10.00 mm (4 and 4 slices)" in fact


@pytest.mark.parametrize(
    "acquisitions",
    [
        ["1"] * 4 + ["2"] * 5,
        ["1", "1", "2", "2", "3", "3", "4", "4"],
        list("12345678"),
        ["1", "1", "1", "2", "1", "2", "2", "2"],
    ],
)
def test_acquisitions_that_follow_each_other_are_one_series(acquisitions: list[str]) -> None:
    assert acquired(acquisitions) == []


def test_loss_burned_in_text_and_varying_rescale_are_remarked_on(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    assert remarks_on([read_header(path) for path in paths]) == ()
    edit(paths[0], LossyImageCompression="01")
    edit(paths[1], BurnedInAnnotation="YES")
    edit(paths[2], RescaleSlope=2)
    remarks = remarks_on([read_header(path) for path in paths])
    codes = ["lossy_compression", "burned_in", "inconsistent_rescale"]
    assert [remark.code for remark in remarks] == codes
    assert "(1 of 5 slices)" in remarks[0].message
    assert remarks[2].message == (
        f"{paths[2].name}: slope 2, intercept -1024 where most slices have 1 and -1024 "
        "(2 different); each slice is rescaled by its own"
    )


def test_a_sound_codestream_needs_no_repair(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", RLELossless)
    assert encoding_faults([read_header(path)]) == ()


def test_overlooked_encoding_faults_are_told_with_their_number() -> None:
    odd = header((0, 0, 0), encoding_faults=("one sequence is implicit",), name="b.dcm")
    (fault,) = encoding_faults([header((0, 0, 2)), odd])
    assert fault.as_repair == Reason(
        "encoding", "b.dcm: one sequence is implicit (1 of 2 slices); it was read all the same"
    )


def test_files_without_meta_information_are_told_how_they_were_read() -> None:
    (fault,) = encoding_faults([header((0, 0, 0), has_meta=False), header((0, 0, 2))])
    assert fault.as_repair == Reason(
        "no_meta",
        "a.dcm: no file meta information says how the file is encoded (1 of 2 slices); it was "
        "read as little endian, uncompressed",
    )


def test_an_axial_reformat_is_read_and_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for path in paths:
        edit(path, ImageType=["DERIVED", "SECONDARY", "MPR"])
    headers = [read_header(path) for path in paths]
    assert judge_slices(headers) == ()
    (remark,) = remarks_on(headers)
    assert remark.code == "derived_object"
    assert "interpolated from other slices (MPR)" in remark.message


def test_slices_of_two_patients_are_told_apart_without_naming_them(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    edit(paths[3], PatientID="OTHER-ID")
    edit(paths[4], PatientID=None)
    (reason,) = judge_slices([read_header(path) for path in paths])
    assert reason.code == "mixed_series"
    assert reason.message == (
        f"{paths[0].name} and {paths[3].name}: slices of 2 patients in one series; separate them"
    )
