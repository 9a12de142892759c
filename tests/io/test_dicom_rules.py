from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import RLELossless

from medvit.io.dicom_header import read_header
from medvit.io.dicom_rules import judge_file, judge_series, remarks_on, signedness_repairs
from tests.make.dicom import (
    CORONAL,
    CtSeries,
    compressed_slice,
    ct_slice,
    edit,
    save,
    truncate,
    write_rt_plan,
    write_secondary_capture,
    write_series,
)

LOCALIZER = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

CHANGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "localizer": ({"ImageType": LOCALIZER}, "localizer", "scout"),
    "a projection": ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "derived_object", "MIP"),
    "another modality": ({"Modality": "MR"}, "not_ct", "MR"),
    "no SOP class": ({"SOPClassUID": None}, "no_sop_class", "SOP class"),
    "a dose object": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.67"},
        "derived_object",
        "1.2.840.10008.5.1.4.1.1.67",
    ),
    "many frames": ({"NumberOfFrames": 7}, "wrong_dimensions", "7 frames"),
    "colour": ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not_hu", "RGB"),
    "a giant": ({"Rows": 60000}, "too_large", "12x60000"),
    "a dwarf": ({"Rows": 1, "Columns": 1}, "too_small", "1x1"),
    "12 bits allocated": ({"BitsAllocated": 12}, "undecodable", "12 bits"),
    "contradicting bits": ({"BitsStored": 12, "HighBit": 3}, "bad_value", "(16, 12, 3)"),
    "more rows than bytes": ({"Rows": 32}, "truncated", "384 of 768 bytes"),
    "no rescale": ({"RescaleSlope": None, "RescaleIntercept": None}, "not_hu", "rescale"),
    "slope nought": ({"RescaleSlope": 0}, "bad_value", "0.0"),
    "optical density": ({"RescaleType": "OD"}, "not_hu", "'OD'"),
    "unsigned without intercept": (
        {"PixelRepresentation": 0, "RescaleIntercept": 0},
        "not_hu",
        "0 HU",
    ),
    "no position": ({"ImagePositionPatient": None}, "no_position", "position"),
    "no orientation": ({"ImageOrientationPatient": None}, "no_position", "orientation"),
    "no pixel spacing": ({"PixelSpacing": None}, "missing_data", "pixel spacing"),
    "spacing nought": ({"PixelSpacing": [0, 1]}, "bad_value", "(0.0, 1.0)"),
    "a skew slice": (
        {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]},
        "bad_value",
        "right angles",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_broken_rule_has_its_code_its_value_and_its_file(tmp_path: Path, name: str) -> None:
    tags, code, words = CHANGES[name]
    path = edit(write_series(tmp_path, names=[f"{n}.dcm" for n in range(5)])[0], **tags)
    if name == "no SOP class":
        _forget_sop_class(path)
    reason = judge_file(read_header(path))
    assert reason is not None
    assert (reason.code, reason.message.split(":")[0]) == (code, "0.dcm")
    assert words in reason.message


def _forget_sop_class(path: Path) -> None:
    import pydicom

    dataset = pydicom.dcmread(path)
    del dataset.file_meta.MediaStorageSOPClassUID
    dataset.save_as(path, enforce_file_format=False)


@pytest.mark.parametrize(
    ("write", "code"),
    [(write_secondary_capture, "secondary_capture"), (write_rt_plan, "not_an_image")],
)
def test_dicom_that_is_no_slice_is_called_what_it_is(
    tmp_path: Path, write: Callable[[Path], Path], code: str
) -> None:
    reason = judge_file(read_header(write(tmp_path / "a.dcm")))
    assert reason is not None
    assert reason.code == code


def test_a_sound_slice_breaks_no_rule(tmp_path: Path) -> None:
    assert judge_file(read_header(write_series(tmp_path)[0])) is None


def test_cut_pixels_are_truncated_plain_or_compressed(tmp_path: Path) -> None:
    plain = truncate(write_series(tmp_path)[0])
    packed = truncate(compressed_slice(tmp_path / "packed.dcm", RLELossless))
    for path in (plain, packed):
        reason = judge_file(read_header(path))
        assert reason is not None
        assert reason.code == "truncated"


def test_a_file_without_meta_information_is_refused_for_that(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=True, little_endian=True)
    reason = judge_file(read_header(tmp_path / "a.dcm"))
    assert reason is not None
    assert reason.code == "no_meta"


def series_codes(folder: Path) -> list[str]:
    reasons, _ = judge_series([read_header(path) for path in sorted(folder.iterdir())])
    return [reason.code for reason in reasons]


def test_a_sound_series_has_a_stack_and_no_reason(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    reasons, stack = judge_series([read_header(path) for path in paths[::-1]])
    assert reasons == ()
    assert stack is not None
    assert tuple(header.path for header in stack.headers) == paths


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"ImageOrientationPatient": list(CORONAL)}, "mixed_orientation"),
        ({"PixelSpacing": [1.0, 0.6]}, "mixed_series"),
        ({"FrameOfReferenceUID": "1.2.3"}, "mixed_series"),
        ({"RescaleType": None}, "inconsistent_rescale"),
        ({"Rows": 12, "Columns": 16}, "mixed_series"),
        ({"RescaleIntercept": -1000}, None),
    ],
)
def test_one_odd_slice_gives_the_series_its_reason(
    tmp_path: Path, tags: dict[str, Any], code: str | None
) -> None:
    edit(write_series(tmp_path)[3], **tags)
    assert series_codes(tmp_path) == ([] if code is None else [code])


def test_files_that_share_a_fault_are_counted_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for path in paths[:3]:
        edit(path, ImageType=LOCALIZER)
    edit(paths[4], RescaleSlope=None)
    reasons, stack = judge_series([read_header(path) for path in paths])
    assert [reason.code for reason in reasons] == ["localizer", "not_hu"]
    assert reasons[0].message.endswith("(3 of 5 files)")
    assert stack is None


def test_no_message_holds_patient_data(tmp_path: Path) -> None:
    for tags, _, _ in CHANGES.values():
        path = edit(write_series(tmp_path)[0], **tags)
        assert "secret" not in str(judge_file(read_header(path))).lower()


def test_loss_and_burned_in_text_are_remarked_on(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    assert remarks_on([read_header(path) for path in paths]) == ()
    edit(paths[0], LossyImageCompression="01")
    edit(paths[1], BurnedInAnnotation="YES")
    remarks = remarks_on([read_header(path) for path in paths])
    assert [remark.code for remark in remarks] == ["lossy_compression", "burned_in"]
    assert "(1 of 5 slices)" in remarks[0].message


def test_a_sound_codestream_needs_no_repair(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", RLELossless)
    assert signedness_repairs([read_header(path)]) == ()


def test_a_rule_about_the_kind_comes_before_one_about_the_place(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.ImageType = LOCALIZER
    del dataset.ImagePositionPatient
    reason = judge_file(read_header(save(dataset, tmp_path / "a.dcm")))
    assert reason is not None
    assert reason.code == "localizer"
