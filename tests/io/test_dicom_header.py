from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medvit.errors import ReadError
from medvit.io.dicom_header import HEAD_BYTES, read_header
from tests.make.dicom import CtSeries, ct_slice, edit, save, write_series

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
    dataset.add_new(0x00091001, "OB", bytes(3 * HEAD_BYTES))
    layout = read_header(save(dataset, tmp_path / "a.dcm")).layout
    assert layout.rows == 16
    assert layout.value_offset > 3 * HEAD_BYTES


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


def test_a_deflated_file_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    path = save(dataset, tmp_path / "a.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(ReadError, match=r"1\.2\.840\.10008\.1\.2\.1\.99") as caught:
        read_header(path)
    assert caught.value.reason == "transfer_syntax"


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
