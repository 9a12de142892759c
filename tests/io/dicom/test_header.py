from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from medvit.errors import ReadError
from medvit.io.dicom.elements import WINDOW_BYTES
from medvit.io.dicom.header import read_header, read_headers
from medvit.io.dicom.inflate import DEFLATED, inflated
from tests.make.dicom import CtSeries, ct_slice, edit, ramp, save, write_series

# Broken values are what these tests write; the libraries' words about them are expected.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_a_header_holds_what_was_written(tmp_path: Path) -> None:
    series = CtSeries()
    path = write_series(tmp_path, series)[1]
    header = read_header(path)
    assert header.series_uid == series.series_uid
    assert header.placement.position_mm == (-10.0, -20.0, -28.0)
    assert header.placement.pixel_spacing_mm == (1.0, 0.5)
    assert header.placement.orientation == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert (header.layout.rows, header.layout.columns) == (16, 12)
    assert (header.slope, header.intercept) == (1.0, -1024.0)
    assert header.bad_values == ()


def test_the_pixels_start_where_the_header_says(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    pixels = dataset.PixelData
    path = save(dataset, tmp_path / "a.dcm")
    layout = read_header(path).layout
    assert layout.declared_bytes == len(pixels) == layout.native_bytes
    assert path.read_bytes()[layout.value_offset :][: len(pixels)] == pixels


def test_a_header_longer_than_the_first_part_is_read_too(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.add_new(0x00091001, "OB", bytes(3 * WINDOW_BYTES))
    layout = read_header(save(dataset, tmp_path / "a.dcm")).layout
    assert layout.rows == 16
    assert layout.value_offset > 3 * WINDOW_BYTES


def test_a_changed_file_is_parsed_again(tmp_path: Path) -> None:
    path = write_series(tmp_path)[0]
    assert read_header(path).modality == "CT"
    edit(path, Modality="MR", ManufacturerModelName="changes the length as well")
    assert read_header(path).modality == "MR"


def test_a_broken_value_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_series(tmp_path)[0]
    raw = path.read_bytes()
    assert raw.count(b"-10.0\\-20.0\\-30.0") == 1
    path.write_bytes(raw.replace(b"-10.0\\-20.0\\-30.0", b"-10.0\\upward-30.0"))
    header = read_header(path)
    assert header.bad_values == ("ImagePositionPatient",)
    assert header.placement.position_mm is None
    assert header.layout.rows == 16


def test_an_element_that_declares_four_gigabytes_costs_nothing(tmp_path: Path) -> None:
    path = write_series(tmp_path)[0]
    raw = path.read_bytes()
    start = raw.index(struct.pack("<HH", 0x0008, 0x0060))
    huge = struct.pack("<HH2sHL", 0x0008, 0x0020, b"UT", 0, 0xFFFFFFF0)
    path.write_bytes(raw[:start] + huge + raw[start:])
    assert read_header(path).layout.rows == 0


def deflated(path: Path) -> Path:
    dataset = ct_slice(CtSeries(), 0)
    save(dataset, path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_a_deflated_file_is_read_as_if_it_were_not(tmp_path: Path) -> None:
    plain = read_header(save(ct_slice(CtSeries(), 0), tmp_path / "plain.dcm"))
    header = read_header(deflated(tmp_path / "a.dcm"))
    assert header.transfer_syntax == DEFLATED
    assert header.layout.declared_bytes == plain.layout.declared_bytes
    assert header.placement == plain.placement
    content = inflated(header.path, most_bytes=1 << 20)
    assert content[header.layout.value_offset :] == ct_slice(CtSeries(), 0).PixelData


def test_a_broken_deflated_file_is_no_dicom(tmp_path: Path) -> None:
    path = deflated(tmp_path / "a.dcm")
    raw = path.read_bytes()
    kept = raw.index(DEFLATED.encode()) + len(DEFLATED) + 1
    path.write_bytes(raw[:kept] + b"\xff" * 400)
    with pytest.raises(ReadError, match=r"a\.dcm: .*deflated part is broken") as caught:
        read_header(path)
    assert caught.value.reason == "not_dicom"


def test_a_missing_file_is_unreadable_by_name(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"gone\.dcm") as caught:
        read_header(tmp_path / "gone.dcm")
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("kept", [0, 50, 131, 140, 200, 300, 500, 700, 900])
def test_a_file_cut_anywhere_gives_a_header_or_a_read_error(tmp_path: Path, kept: int) -> None:
    path = write_series(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:kept])
    with suppress(ReadError):
        assert read_header(path).file_bytes == kept


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_give_the_same_header(tmp_path: Path, syntax: UID) -> None:
    dataset = ct_slice(CtSeries(), 0)
    nested = Dataset()
    nested.ReferencedSOPInstanceUID = "1.2.3"
    dataset.ReferencedImageSequence = Sequence([nested])
    plain = read_header(save(dataset, tmp_path / "plain.dcm"))
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "other.dcm"
    pydicom.dcmwrite(
        path,
        dataset,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        force_encoding=True,
    )
    other = read_header(path)
    assert (other.placement, other.layout.rows) == (plain.placement, plain.layout.rows)
    assert (other.sop_uid, other.slope, other.encoding_faults) == (plain.sop_uid, 1.0, ())


def test_an_encoding_that_is_not_the_one_declared_is_named(tmp_path: Path) -> None:
    path = save(ct_slice(CtSeries(), 0), tmp_path / "a.dcm")
    explicit, implicit = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"
    raw = path.read_bytes()
    assert raw.count(explicit) == 1
    path.write_bytes(raw.replace(explicit, implicit))
    header = read_header(path)
    assert header.layout.rows == 16
    assert header.encoding_faults == (
        "the data set is explicit, the transfer syntax says otherwise",
    )


def multi_frame(heights_mm: list[float]) -> Dataset:
    """Return an enhanced CT with one 8x8 frame at each height."""
    dataset = ct_slice(CtSeries(hu=ramp((1, 8, 8))), 0)
    dataset.SOPClassUID = EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(dataset, keyword)
    dataset.NumberOfFrames = len(heights_mm)
    dataset.PixelData = dataset.PixelData * len(heights_mm)
    dataset.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    values = Dataset()
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, -1000, "HU"
    dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = Sequence([values])
    frames = []
    for height_mm in heights_mm:
        frame, plane = Dataset(), Dataset()
        plane.ImagePositionPatient = [1.0, 2.0, height_mm]
        frame.PlanePositionSequence = Sequence([plane])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


@pytest.mark.parametrize("has_undefined_length", [False, True])
def test_each_frame_of_an_enhanced_image_has_its_header(
    tmp_path: Path, *, has_undefined_length: bool
) -> None:
    dataset = multi_frame([5.0, -3.0, 1.5])
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = has_undefined_length
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.is_undefined_length_sequence_item = has_undefined_length
    headers = read_headers(save(dataset, tmp_path / "a.dcm"))
    positions = [header.placement.position_mm for header in headers]
    assert positions == [(1.0, 2.0, 5.0), (1.0, 2.0, -3.0), (1.0, 2.0, 1.5)]
    assert [(h.frame, h.instance_number) for h in headers] == [(0, 1), (1, 2), (2, 3)]
    assert {(h.slope, h.intercept, h.rescale_type) for h in headers} == {(2.0, -1000.0, "HU")}
    assert {h.placement.pixel_spacing_mm for h in headers} == {(1.0, 0.5)}
    assert all(h.has_meta and h.sop_class == EnhancedCTImageStorage for h in headers)
