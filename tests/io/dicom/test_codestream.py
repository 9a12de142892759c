from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import binary, sampled_from

from medvit.io.dicom.codestream import Codestream, is_ended, read_codestream
from tests.make.frames import (
    HTJ2K_8_BIT,
    HTJ2K_16_BIT,
    HTJ2K_SIGNED,
    JPEG_12_BIT,
    Cells,
    jpeg_baseline,
    jpeg_lossless,
)

WIDE = np.arange(24 * 32).reshape(24, 32)
BASELINE = jpeg_baseline(WIDE % 256, Cells(8))


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (HTJ2K_8_BIT, Codestream(16, 16, 1, 8, is_signed=False)),
        (HTJ2K_16_BIT, Codestream(16, 16, 1, 16, is_signed=False)),
        (HTJ2K_SIGNED, Codestream(16, 16, 1, 16, is_signed=True)),
        (JPEG_12_BIT, Codestream(16, 16, 1, 12, is_signed=None)),
        (BASELINE, Codestream(24, 32, 1, 8, is_signed=None)),
        (jpeg_lossless(WIDE, Cells(10)), Codestream(24, 32, 1, 10, is_signed=None)),
    ],
)
def test_each_codestream_says_its_size(stream: bytes, expected: Codestream) -> None:
    assert read_codestream(stream) == expected
    assert is_ended(stream)
    assert not is_ended(stream[: len(stream) * 3 // 4])


def test_a_codestream_wrapped_as_a_file_is_found() -> None:
    wrapped = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 " + HTJ2K_8_BIT
    assert read_codestream(wrapped) == read_codestream(HTJ2K_8_BIT)


def test_fill_bytes_and_remarks_before_the_frame_are_passed_over() -> None:
    remark = b"\xff\xfe" + struct.pack(">H", 7) + b"\xff\xc0hi!"
    assert read_codestream(BASELINE[:2] + b"\xff\xff" + remark + BASELINE[2:]) == read_codestream(
        BASELINE
    )


def test_an_offset_of_the_image_area_is_taken_off() -> None:
    head = bytearray(HTJ2K_8_BIT)
    struct.pack_into(">4L", head, 8, 116, 26, 100, 10)
    found = read_codestream(bytes(head))
    assert found is not None
    assert (found.columns, found.rows) == (16, 16)


@pytest.mark.parametrize("stream", [b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"RIFF" * 30])
def test_what_is_no_codestream_is_none(stream: bytes) -> None:
    assert read_codestream(stream) is None


@given(tail=binary(max_size=60), stream=sampled_from([BASELINE, HTJ2K_8_BIT]))
def test_no_bytes_at_all_lead_astray(tail: bytes, stream: bytes) -> None:
    for broken in (tail, b"\xff\xd8" + tail, stream[:20] + tail, b"\xff\x4f\xff\x51" + tail):
        found = read_codestream(broken)
        assert found is None or found.bits >= 0
