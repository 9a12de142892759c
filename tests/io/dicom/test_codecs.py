"""The golden table: every transfer syntax gives back the values that were encoded."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medvit.errors import ReadError
from medvit.io.dicom.pixels import CODECS, PACKAGES, decoder_problem, read_rows, read_stored
from tests.make.dicom import edit
from tests.make.frames import (
    DEFLATED_FRAMES,
    HTJ2K_8_BIT,
    HTJ2K_16_BIT,
    HTJ2K_SIGNED,
    JPEG_12_BIT,
    UNCOMPRESSED_FRAMES,
    Cells,
    FrameEncoder,
    Stored,
    compress,
    deflated,
    header_of,
    jpeg_baseline,
    jpeg_lossless,
    plain,
    tiny_values,
    write_frames,
)

CELLS = [
    Cells(bits, is_signed, frames)
    for bits in (8, 12, 16)
    for is_signed in (False, True)
    for frames in (1, 3)
]
BY_PYDICOM = [RLELossless, JPEGLSLossless, JPEG2000Lossless]
BY_FRAME: list[tuple[UID, FrameEncoder]] = [
    (JPEGLosslessSV1, jpeg_lossless),
    (JPEGLossless, jpeg_lossless),
    (UNCOMPRESSED_FRAMES, plain),
    (DEFLATED_FRAMES, deflated),
]


def assert_holds(path: Path, values: Stored) -> None:
    for frame, expected in enumerate(values):
        stored = read_stored(header_of(path, frame))
        np.testing.assert_array_equal(stored, expected)
        assert stored.dtype.isnative
        np.testing.assert_array_equal(read_rows(header_of(path, frame), slice(3, 9)), expected[3:9])


@pytest.mark.parametrize("cells", CELLS, ids=str)
@pytest.mark.parametrize("syntax", BY_PYDICOM, ids=lambda syntax: syntax.name)
def test_what_pydicom_encodes_comes_back(tmp_path: Path, syntax: UID, cells: Cells) -> None:
    assert_holds(tmp_path / "a.dcm", compress(tmp_path / "a.dcm", cells, syntax))


@pytest.mark.parametrize("cells", CELLS, ids=str)
@pytest.mark.parametrize(("syntax", "encode"), BY_FRAME)
def test_what_is_encoded_here_comes_back(
    tmp_path: Path, syntax: UID, encode: FrameEncoder, cells: Cells
) -> None:
    values = cells.values(side=20)
    frames = [encode(frame, cells) for frame in values]
    assert_holds(write_frames(tmp_path / "a.dcm", values, cells, syntax, frames), values)


@pytest.mark.parametrize("cells", CELLS, ids=str)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_plain_pixels_come_back(tmp_path: Path, syntax: UID, cells: Cells) -> None:
    values = cells.values()
    raw = values.astype(cells.dtype).tobytes()
    assert_holds(write_frames(tmp_path / "a.dcm", values, cells, syntax, raw), values)


@pytest.mark.parametrize("bits", [2, 3, 5, 7, 9, 10, 13, 15])
@pytest.mark.parametrize("is_signed", [False, True])
def test_jpeg_lossless_of_any_precision_is_exact(
    tmp_path: Path, bits: int, is_signed: bool
) -> None:
    cells = Cells(bits, is_signed)
    values = cells.values(side=16)
    frames = [jpeg_lossless(values[0], cells)]
    assert_holds(write_frames(tmp_path / "a.dcm", values, cells, JPEGLosslessSV1, frames), values)


@pytest.mark.parametrize(
    ("stream", "cells", "factor", "offset"),
    [
        (HTJ2K_8_BIT, Cells(8), 1, 0),
        (HTJ2K_16_BIT, Cells(16), 257, 0),
        (HTJ2K_SIGNED, Cells(16, is_signed=True), 257, -32768),
    ],
)
@pytest.mark.parametrize("last", [1, 2, 3])
def test_high_throughput_jpeg_2000_is_exact(
    tmp_path: Path, stream: bytes, cells: Cells, factor: int, offset: int, last: int
) -> None:
    syntax = UID(HTJ2KLossless[:-1] + str(last))
    values = tiny_values() * factor + offset
    assert_holds(write_frames(tmp_path / "a.dcm", values, cells, syntax, [stream]), values)


def test_jpeg_baseline_is_what_pillow_decodes(tmp_path: Path) -> None:
    cells = Cells(8, frames=2)
    frames = [jpeg_baseline(frame, cells) for frame in cells.values()]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(frame))) for frame in frames])
    path = write_frames(tmp_path / "a.dcm", cells.values(), cells, JPEGBaseline8Bit, frames)
    assert_holds(path, expected.astype(np.int64))


def test_jpeg_extended_keeps_its_twelve_bits(tmp_path: Path) -> None:
    values = tiny_values() * 16
    path = write_frames(tmp_path / "a.dcm", values, Cells(12), JPEGExtended12Bit, [JPEG_12_BIT])
    assert_holds(path, values)


@pytest.mark.parametrize("is_signed", [False, True])
def test_the_sign_of_the_header_wins_over_that_of_the_codestream(
    tmp_path: Path, is_signed: bool
) -> None:
    stream = HTJ2K_16_BIT if is_signed else HTJ2K_SIGNED
    bits = tiny_values() * 257 - (0 if is_signed else 32768)
    cells = Cells(16, is_signed)
    path = write_frames(tmp_path / "a.dcm", bits, cells, HTJ2KLossless, [stream])
    assert_holds(path, bits.astype(np.int16 if is_signed else np.uint16).astype(np.int64))


def test_one_package_decodes_each_transfer_syntax_whatever_else_is_installed() -> None:
    # GDCM could decode JPEG-LS and JPEG 2000 too, and forgives sizes that disagree.
    assert {codec.module for codec in CODECS.values()} == {"gdcm", "jpeg_ls", "openjpeg"}
    for syntax in CODECS:
        assert decoder_problem(syntax) == ""


def test_a_codec_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(CODECS[JPEGLSLossless], module="codec_of_another_world")
    monkeypatch.setitem(CODECS, JPEGLSLossless, absent)
    monkeypatch.setitem(PACKAGES, "codec_of_another_world", "pyjpegls")
    assert decoder_problem(JPEGLSLossless) == (
        f"no decoder installed for JPEG-LS lossless ({JPEGLSLossless}): pip install pyjpegls"
    )


def test_colour_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    cells = Cells(8)
    frames = [jpeg_baseline(cells.values()[0], cells)]
    path = write_frames(tmp_path / "a.dcm", cells.values(), cells, JPEGBaseline8Bit, frames)
    edit(path, SamplesPerPixel=3)
    with pytest.raises(ReadError, match="the header says 64x64 of 3") as caught:
        read_stored(header_of(path, 0))
    assert caught.value.reason == "undecodable"
