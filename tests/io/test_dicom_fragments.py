from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import JPEG2000Lossless, RLELossless

from medvit.io.dicom_fragments import walk_fragments
from medvit.io.dicom_header import read_header
from tests.make.dicom import CtSeries, compressed_slice, ct_slice, save, truncate


def test_whole_fragments_are_whole(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", RLELossless)
    found = walk_fragments(read_header(path))
    assert found.is_whole
    assert found.is_signed_j2k is None


@pytest.mark.parametrize("lost_bytes", [9, 40, 100])
def test_a_cut_is_seen_without_decoding(tmp_path: Path, lost_bytes: int) -> None:
    path = truncate(compressed_slice(tmp_path / "a.dcm", RLELossless), lost_bytes=lost_bytes)
    assert not walk_fragments(read_header(path)).is_whole


def test_a_missing_end_mark_alone_is_no_cut(tmp_path: Path) -> None:
    path = truncate(compressed_slice(tmp_path / "a.dcm", RLELossless), lost_bytes=8)
    assert walk_fragments(read_header(path)).is_whole


def test_the_sign_of_a_jpeg_2000_stream_is_read_from_its_header(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", JPEG2000Lossless)
    assert walk_fragments(read_header(path)).is_signed_j2k is True


def test_the_sign_byte_is_where_the_standard_says(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", JPEG2000Lossless)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"\xff\x4f\xff\x51") + 42] &= 0x7F
    path.write_bytes(bytes(raw))
    assert walk_fragments(read_header(path)).is_signed_j2k is False


def test_pixels_that_are_not_in_fragments_are_not_whole(tmp_path: Path) -> None:
    path = save(ct_slice(CtSeries(), 0), tmp_path / "a.dcm")
    assert not walk_fragments(read_header(path)).is_whole
