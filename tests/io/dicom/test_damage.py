"""Damaged codestreams: a plane of the right shape or a reason, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, sampled_from, tuples
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medvit.errors import ReadError
from medvit.io.dicom.header import read_header
from medvit.io.dicom.pixels import read_stored
from tests.make.frames import (
    HTJ2K_16_BIT,
    JPEG_12_BIT,
    Cells,
    compress,
    jpeg_baseline,
    jpeg_lossless,
    tiny_values,
    write_frames,
)

GREY = Cells(16)
SMALL = Cells(8)

WRITERS: dict[str, Callable[[Path], object]] = {
    "RLE": lambda path: compress(path, GREY, RLELossless),
    "JPEG-LS": lambda path: compress(path, GREY, JPEGLSLossless),
    "JPEG 2000": lambda path: compress(path, GREY, JPEG2000Lossless),
    "HTJ2K": lambda path: write_frames(path, tiny_values(), GREY, HTJ2KLossless, [HTJ2K_16_BIT]),
    "JPEG lossless": lambda path: write_frames(
        path,
        GREY.values(side=32),
        GREY,
        JPEGLosslessSV1,
        [jpeg_lossless(GREY.values(side=32)[0], GREY)],
    ),
    "JPEG baseline": lambda path: write_frames(
        path, SMALL.values(), SMALL, JPEGBaseline8Bit, [jpeg_baseline(SMALL.values()[0], SMALL)]
    ),
    "JPEG extended": lambda path: write_frames(
        path, tiny_values(), Cells(12), JPEGExtended12Bit, [JPEG_12_BIT]
    ),
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("codestreams")
    for name, write in WRITERS.items():
        write(folder / name)
    return {name: folder / name for name in WRITERS}


@settings(deadline=None, max_examples=200)
@given(
    name=sampled_from(sorted(WRITERS)),
    edits=lists(tuples(integers(0, 10_000), integers(0, 255)), min_size=1, max_size=5),
    is_in_head=booleans(),
)
def test_any_edit_of_the_pixels_gives_a_plane_or_a_reason(
    samples: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    edits: list[tuple[int, int]],
    is_in_head: bool,
) -> None:
    raw = bytearray(samples[name].read_bytes())
    start = read_header(samples[name]).layout.value_offset
    room = min(200, len(raw) - start) if is_in_head else len(raw) - start
    for place, value in edits:
        raw[start + place % room] = value
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(bytes(raw))
    started = time.monotonic()
    with suppress(ReadError):
        header = read_header(path)
        assert read_stored(header).shape == (header.layout.rows, header.layout.columns)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", WRITERS)
def test_the_samples_themselves_are_read(samples: dict[str, Path], name: str) -> None:
    header = read_header(samples[name])
    assert read_stored(header).shape == (header.layout.rows, header.layout.columns)
