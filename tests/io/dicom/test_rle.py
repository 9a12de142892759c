from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import binary, integers, sampled_from

from medvit.io.dicom.rle import decode_rle


def pack(plane: bytes) -> bytes:
    """Pack bytes the plainest way: literal runs of at most 128."""
    return b"".join(
        bytes([len(plane[n : n + 128]) - 1]) + plane[n : n + 128] for n in range(0, len(plane), 128)
    )


def frame_of(*segments: bytes) -> bytes:
    starts = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    header = struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(starts)))
    return header + b"".join(segments)


def test_runs_and_literals_by_hand() -> None:
    # 3 literal bytes, 4 times 9, a no-op, 2 literal bytes (PS3.5, G.3.1).
    segment = bytes([2, 1, 2, 3, 253, 9, 128, 1, 7, 8])
    found = decode_rle(frame_of(segment), pixels=9, cell_bytes=1)
    assert found.tolist() == [1, 2, 3, 9, 9, 9, 9, 7, 8]


def test_the_most_significant_byte_comes_first() -> None:
    found = decode_rle(frame_of(pack(b"\x12\x34"), pack(b"\x56\x78")), pixels=2, cell_bytes=2)
    assert found.tolist() == [0x1256, 0x3478]
    assert found.dtype.isnative


@given(values=arrays(np.uint32, integers(1, 300)), cell_bytes=sampled_from([1, 2, 4]))
def test_packed_cells_come_back(values: np.typing.NDArray[np.uint32], cell_bytes: int) -> None:
    cells = values.astype(f">u{cell_bytes}")
    planes = np.frombuffer(cells.tobytes(), np.uint8).reshape(len(cells), cell_bytes)
    stream = frame_of(*(pack(planes[:, n].tobytes()) for n in range(cell_bytes)))
    found = decode_rle(stream, pixels=len(cells), cell_bytes=cell_bytes)
    np.testing.assert_array_equal(found, cells)


@given(stream=binary(max_size=200))
def test_no_bytes_at_all_lead_astray(stream: bytes) -> None:
    try:
        found = decode_rle(stream, pixels=50, cell_bytes=2)
    except ValueError:
        return
    assert found.shape == (50,)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"", "has 0 bytes, 64 of header expected"),
        (frame_of(pack(b"ab")), "1 RLE segments for cells of 2 bytes"),
        (frame_of(pack(b"ab"), pack(b"a")), "ends after 1 of 2 pixels"),
        (frame_of(b"", pack(b"ab")), "ends after 0 of 2 pixels"),
    ],
)
def test_segments_of_another_frame_are_refused(stream: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_rle(stream, pixels=2, cell_bytes=2)
