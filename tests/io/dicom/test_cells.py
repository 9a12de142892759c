from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from medvit.errors import ReadError
from medvit.io.dicom.cells import read_cells, unpack_cells
from medvit.io.dicom.header import SliceHeader
from tests.make.frames import Cells, Stored, header_of, write_frames

GREY = Cells(16, frames=3)


def write_native(path: Path, raw: bytes, *, rows: int = 4, columns: int = 5) -> SliceHeader:
    shape = np.zeros((1, rows, columns), np.int64)
    write_frames(path, shape, Cells(16), ExplicitVRLittleEndian, raw)
    return header_of(path, 0)


def with_bits(header: SliceHeader, allocated: int, **layout: Any) -> SliceHeader:
    bits: dict[str, Any] = {"bits_allocated": allocated, "bits_stored": allocated}
    return replace(
        header, layout=replace(header.layout, **{**bits, "high_bit": allocated - 1, **layout})
    )


def packed(values: Stored, bits: int) -> bytes:
    """Pack the slow way: each value as text, the least significant bit first."""
    text = "".join(format(int(v), f"0{bits}b")[::-1] for v in values.ravel())
    text += "0" * (-len(text) % 8)
    return bytes(int(text[n : n + 8][::-1], 2) for n in range(0, len(text), 8)) + b"\0"


@given(
    bits=sampled_from([1, 12]),
    raw=lists(integers(0, 4095), min_size=3, max_size=40),
    first=integers(0, 2),
)
def test_packed_cells_come_back_from_any_place(bits: int, raw: list[int], first: int) -> None:
    values = np.array(raw) % (1 << bits)
    start = first * bits // 8
    found = unpack_cells(
        packed(values, bits)[start:], bits=bits, first=first, count=len(values) - first
    )
    assert found.tolist() == values[first:].tolist()


@pytest.mark.parametrize("bits", [1, 12])
@pytest.mark.parametrize("frame", [0, 1, 2])
def test_frames_of_packed_cells_need_not_begin_at_a_byte(
    tmp_path: Path, bits: int, frame: int
) -> None:
    values = np.arange(3 * 3 * 5).reshape(3, 3, 5) * 89 % (1 << bits)
    header = write_native(tmp_path / "a", packed(values, bits), rows=3)
    header = replace(with_bits(header, bits, frames=3), frame=frame)
    np.testing.assert_array_equal(read_cells(header, slice(0, 3)), values[frame])
    np.testing.assert_array_equal(read_cells(header, slice(1, 2)), values[frame, 1:2])


def test_packed_cells_have_a_sign_when_the_header_says_so(tmp_path: Path) -> None:
    values = np.arange(-10, 10).reshape(1, 4, 5) * 200
    header = write_native(tmp_path / "a", packed(values & 0xFFF, 12))
    found = read_cells(with_bits(header, 12, is_signed=True), slice(0, 4))
    np.testing.assert_array_equal(found, values[0])


@pytest.mark.parametrize(("tag", "dtype"), [(b"\x08\0", "<f4"), (b"\x09\0", "<f8")])
def test_float_pixels_are_read_as_what_they_are(tmp_path: Path, tag: bytes, dtype: str) -> None:
    values = np.linspace(-1000, 3000, 20).reshape(4, 5).astype(dtype)
    header = write_native(tmp_path / "a", values.tobytes())
    raw = (tmp_path / "a").read_bytes().replace(b"\xe0\x7f\x10\0OW", b"\xe0\x7f" + tag + b"OF")
    (tmp_path / "a").write_bytes(raw)
    found = read_cells(with_bits(header, 8 * values.dtype.itemsize), slice(1, 3))
    np.testing.assert_array_equal(found, values[1:3])


def test_float_pixels_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    values = np.full((4, 5), np.nan, "<f4")
    values[0] = 1
    header = write_native(tmp_path / "a", values.tobytes())
    raw = (tmp_path / "a").read_bytes().replace(b"\xe0\x7f\x10\0OW", b"\xe0\x7f\x08\0OF")
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(ReadError, match="a: 15 pixels are no number") as caught:
        read_cells(with_bits(header, 32), slice(0, 4))
    assert caught.value.reason == "bad_value"


@pytest.mark.parametrize("dtype", ["<u4", "<i4"])
def test_cells_of_thirty_two_bits_keep_them(tmp_path: Path, dtype: str) -> None:
    values = (np.arange(20).reshape(4, 5) * 200_000_000).astype(dtype)
    header = write_native(tmp_path / "a", values.tobytes())
    header = with_bits(header, 32, is_signed=dtype == "<i4")
    np.testing.assert_array_equal(read_cells(header, slice(0, 4)), values)


@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize("vr", [b"OW", b"OB"])
def test_big_endian_words_of_two_small_pixels_are_swapped(
    tmp_path: Path, frame: int, vr: bytes
) -> None:
    # 15 pixels a frame: the second frame begins in the middle of a word.
    values = np.arange(30, dtype=np.uint8).reshape(2, 3, 5)
    raw = values.tobytes()
    if vr == b"OW":
        raw = np.frombuffer(raw, "<u2").astype(">u2").tobytes()
    path = write_frames(tmp_path / "a", values.astype(np.int64), Cells(8), ExplicitVRBigEndian, raw)
    path.write_bytes(path.read_bytes().replace(b"\x7f\xe0\0\x10OW", b"\x7f\xe0\0\x10" + vr))
    header = header_of(path, frame)
    np.testing.assert_array_equal(read_cells(header, slice(0, 3)), values[frame])
    np.testing.assert_array_equal(read_cells(header, slice(1, 2)), values[frame, 1:2])


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_rows_are_those_of_the_frame(tmp_path: Path, frame: int) -> None:
    values = GREY.values(side=9)
    raw = values.astype("<u2").tobytes()
    path = write_frames(tmp_path / "a", values, GREY, ExplicitVRLittleEndian, raw)
    found = read_cells(header_of(path, frame), slice(2, 7))
    np.testing.assert_array_equal(found, values[frame, 2:7])


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    header = write_native(tmp_path / "a", bytes(40))
    assert read_cells(header, slice(2, 2)).shape == (0, 5)


@pytest.mark.parametrize("bits", [0, 7, 24, 128])
def test_other_widths_are_refused_by_name(tmp_path: Path, bits: int) -> None:
    header = with_bits(write_native(tmp_path / "a", bytes(40)), bits)
    with pytest.raises(ReadError, match=f"1 samples of {bits} bits") as caught:
        read_cells(header, slice(0, 4))
    assert caught.value.reason == "undecodable"


def test_bits_that_contradict_each_other_are_a_bad_value(tmp_path: Path) -> None:
    header = with_bits(write_native(tmp_path / "a", bytes(40)), 16, bits_stored=12, high_bit=5)
    with pytest.raises(ReadError, match=r"\(16, 12, 5\) contradict") as caught:
        read_cells(header, slice(0, 4))
    assert caught.value.reason == "bad_value"


def test_a_file_that_claims_more_than_it_holds_costs_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    header = write_native(tmp_path / "a", bytes(40))
    header = replace(header, layout=replace(header.layout, rows=40_000, columns=40_000))
    tracemalloc.start()
    with pytest.raises(ReadError, match="40 of 3200000000 bytes") as caught:
        read_cells(header, slice(0, 40_000))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert caught.value.reason == "truncated"
