from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, RLELossless

from medvit.errors import ReadError
from medvit.io.dicom.fragments import read_frame, walk_fragments
from medvit.io.dicom.header import read_header
from tests.make.dicom import CtSeries, compressed_slice, ct_slice, edit, save, truncate
from tests.make.frames import HTJ2K_SIGNED, Cells, header_of, tiny_values, write_frames

FRAMES = [b"first.", b"the second", b"third frame."]


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


def test_high_throughput_codestreams_have_the_same_sign(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write_frames(path, tiny_values(), Cells(16), HTJ2KLossless, [HTJ2K_SIGNED])
    assert walk_fragments(read_header(path)).is_signed_j2k is True


def write_fragments(path: Path, pixels: bytes, *, frames: int = 3) -> Path:
    write_frames(path, Cells(16, frames=frames).values(side=8), Cells(16), RLELossless, FRAMES)
    return edit(path, PixelData=pixels)


@pytest.mark.parametrize("has_table", [False, True])
def test_a_fragment_a_frame_needs_no_table(tmp_path: Path, has_table: bool) -> None:
    path = write_fragments(tmp_path / "a", encapsulate(FRAMES, has_bot=has_table))
    assert [read_frame(header_of(path, n)) for n in range(3)] == FRAMES


@pytest.mark.parametrize("fragments", [2, 3])
def test_frames_of_several_fragments_are_joined_by_the_table(
    tmp_path: Path, fragments: int
) -> None:
    pixels = encapsulate(FRAMES, fragments_per_frame=fragments, has_bot=True)
    path = write_fragments(tmp_path / "a", pixels)
    assert [read_frame(header_of(path, n)).rstrip(b"\0") for n in range(3)] == FRAMES


def test_an_extended_table_means_a_fragment_a_frame(tmp_path: Path) -> None:
    pixels, offsets, lengths = encapsulate_extended(FRAMES)
    path = write_fragments(tmp_path / "a", pixels)
    edit(path, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths)
    assert [read_frame(header_of(path, n)) for n in range(3)] == FRAMES


def test_all_fragments_are_the_one_frame(tmp_path: Path) -> None:
    pixels = encapsulate([b"".join(FRAMES)], fragments_per_frame=4, has_bot=False)
    path = write_fragments(tmp_path / "a", pixels, frames=1)
    assert read_frame(header_of(path, 0)) == b"".join(FRAMES)


def test_fragments_that_could_be_anybodys_are_refused(tmp_path: Path) -> None:
    pixels = encapsulate(FRAMES, fragments_per_frame=2, has_bot=False)
    path = write_fragments(tmp_path / "a", pixels)
    with pytest.raises(ReadError, match="6 fragments of 3 frames, and no offset table") as caught:
        read_frame(header_of(path, 1))
    assert caught.value.reason == "undecodable"


def test_a_table_that_points_between_fragments_is_not_believed(tmp_path: Path) -> None:
    pixels = bytearray(encapsulate(FRAMES, fragments_per_frame=2, has_bot=True))
    pixels[12] += 2
    path = write_fragments(tmp_path / "a", bytes(pixels))
    with pytest.raises(ReadError, match="no offset table") as caught:
        read_frame(header_of(path, 0))
    assert caught.value.reason == "undecodable"


def test_a_fragment_that_claims_gigabytes_costs_none(tmp_path: Path) -> None:
    path = write_fragments(tmp_path / "a", encapsulate(FRAMES, has_bot=False), frames=1)
    raw = bytearray(path.read_bytes())
    place = raw.index(b"first.") - 4
    raw[place : place + 4] = b"\xf0\xff\xff\xff"
    path.write_bytes(bytes(raw))
    with pytest.raises(ReadError, match=r"of 4294967280 bytes of a fragment are there") as caught:
        read_frame(header_of(path, 0))
    assert caught.value.reason == "truncated"


def test_millions_of_empty_items_are_not_followed(tmp_path: Path) -> None:
    path = write_fragments(tmp_path / "a", encapsulate(FRAMES, has_bot=False), frames=1)
    header = read_header(path)
    raw = path.read_bytes()[: header.layout.value_offset]
    path.write_bytes(raw + b"\xfe\xff\x00\xe0\0\0\0\0" * 300_000)
    started = time.monotonic()
    assert not walk_fragments(header).is_whole
    with pytest.raises(ReadError, match="100000 items of pixels, and no end to them") as caught:
        read_frame(header)
    assert caught.value.reason == "truncated"
    assert time.monotonic() - started < 5
