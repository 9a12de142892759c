from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from medvit.io.dicom.header import read_header
from medvit.io.dicom.rules import judge_file
from tests.make.dicom import (
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
    "a curved reformat": ({"ImageType": ["DERIVED", "PRIMARY", "CPR"]}, "derived_object", "CPR"),
    "a coronal reformat": (
        {
            "ImageType": ["DERIVED", "SECONDARY", "MPR"],
            "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
        },
        "derived_object",
        "across the long axis",
    ),
    "a segmentation": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG"},
        "not_ct",
        "SEG",
    ),
    "a segmentation called CT": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"},
        "derived_object",
        "1.2.840.10008.5.1.4.1.1.66.4",
    ),
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
    "more bytes than rows": ({"Rows": 8}, "bad_value", "384 bytes of pixels declared, but 12x8"),
    "one column too few": ({"Columns": 11}, "bad_value", "384 bytes of pixels declared, but 11x16"),
    "more rows than bytes": ({"Rows": 32}, "truncated", "384 of 768 bytes"),
    "no rescale": ({"RescaleSlope": None, "RescaleIntercept": None}, "not_hu", "rescale"),
    "slope nought": ({"RescaleSlope": 0}, "bad_value", "0.0"),
    "optical density": ({"RescaleType": "OD"}, "not_hu", "'OD'"),
    "unsigned without intercept": (
        {"PixelRepresentation": 0, "RescaleIntercept": 0},
        "not_hu",
        "0 HU",
    ),
    "tissue out of reach": ({"RescaleSlope": "1e-9"}, "not_hu", "to -1024 HU can be stored"),
    "steps too coarse": ({"RescaleSlope": "101"}, "bad_value", "101.0 must be positive, at most"),
    "no position": ({"ImagePositionPatient": None}, "no_position", "position"),
    "no orientation": ({"ImageOrientationPatient": None}, "no_position", "orientation"),
    "no pixel spacing": ({"PixelSpacing": None}, "missing_data", "pixel spacing"),
    "spacing nought": ({"PixelSpacing": [0, 1]}, "bad_value", "(0.0, 1.0)"),
    "pixels too near": ({"PixelSpacing": [1e-9, 1e-9]}, "bad_value", "from 0.01 to 50 mm"),
    "pixels too far": ({"PixelSpacing": [1, 51]}, "bad_value", "(1.0, 51.0) mm"),
    "far away": ({"ImagePositionPatient": [0, 0, 2e5]}, "bad_value", "farther off than 100000 mm"),
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


def without_meta(path: Path, **tags: Any) -> Path:
    dataset = ct_slice(CtSeries(), 0)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    return path


def test_a_whole_ct_slice_without_meta_information_breaks_no_rule(tmp_path: Path) -> None:
    assert judge_file(read_header(without_meta(tmp_path / "a.dcm"))) is None


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"Modality": "CR"}, "not_ct"),
        ({"RescaleType": "OD"}, "not_hu"),
        ({"Rows": 99}, "truncated"),
    ],
)
def test_without_meta_information_every_other_rule_holds(
    tmp_path: Path, tags: dict[str, Any], code: str
) -> None:
    reason = judge_file(read_header(without_meta(tmp_path / "a.dcm", **tags)))
    assert reason is not None
    assert reason.code == code


def test_big_endian_without_meta_information_is_not_guessed(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=False)
    reason = judge_file(read_header(tmp_path / "a.dcm"))
    assert reason is not None
    assert reason.code == "no_meta"
    assert "byte order" in reason.message


def test_pixels_in_another_byte_order_than_declared_are_refused(tmp_path: Path) -> None:
    path = save(ct_slice(CtSeries(), 0), tmp_path / "a.dcm")
    declared = read_header(path)
    assert judge_file(replace(declared, encoding_faults=("something odd",))) is None
    odd = replace(declared, encoding_faults=("odd",), transfer_syntax="1.2.840.10008.1.2.2")
    reason = judge_file(odd)
    assert reason is not None
    assert (reason.code, "byte order" in reason.message) == ("encoding", True)


def test_meta_information_without_transfer_syntax_is_refused_for_that(tmp_path: Path) -> None:
    sound = read_header(save(ct_slice(CtSeries(), 0), tmp_path / "a.dcm"))
    reason = judge_file(replace(sound, transfer_syntax=""))
    assert reason is not None
    assert reason.code == "transfer_syntax"


def test_deflated_pixels_are_measured_inflated(tmp_path: Path) -> None:
    path = save(ct_slice(CtSeries(), 0), tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    sound = read_header(path)
    assert sound.file_bytes < sound.layout.value_offset + sound.layout.native_bytes
    assert judge_file(sound) is None
    reason = judge_file(read_header(truncate(path, lost_bytes=60)))
    assert reason is not None
    assert reason.code == "truncated"


def test_padding_of_less_than_a_side_is_no_contradiction(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.PixelData += bytes(22)
    assert judge_file(read_header(save(dataset, tmp_path / "a.dcm"))) is None


def test_only_the_first_frame_is_asked_whether_all_are_there(tmp_path: Path) -> None:
    sound = read_header(save(ct_slice(CtSeries(), 0), tmp_path / "a.dcm"))
    layout = replace(sound.layout, frames=9)
    first = replace(sound, layout=layout, sop_class="1.2.840.10008.5.1.4.1.1.2.1")
    reason = judge_file(first)
    assert reason is not None
    assert (reason.code, "384 of 3456 bytes" in reason.message) == ("truncated", True)
    assert judge_file(replace(first, frame=1)) is None


@pytest.mark.parametrize("kind", [".1", ".2"])
def test_enhanced_ct_is_ct(tmp_path: Path, kind: str) -> None:
    sound = read_header(save(ct_slice(CtSeries(), 0), tmp_path / "a.dcm"))
    assert judge_file(replace(sound, sop_class=f"1.2.840.10008.5.1.4.1.1.2{kind}")) is None


def test_no_message_holds_patient_data(tmp_path: Path) -> None:
    for tags, _, _ in CHANGES.values():
        path = edit(write_series(tmp_path)[0], **tags)
        assert "secret" not in str(judge_file(read_header(path))).lower()


def test_a_rule_about_the_kind_comes_before_one_about_the_place(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.ImageType = LOCALIZER
    del dataset.ImagePositionPatient
    reason = judge_file(read_header(save(dataset, tmp_path / "a.dcm")))
    assert reason is not None
    assert reason.code == "localizer"
