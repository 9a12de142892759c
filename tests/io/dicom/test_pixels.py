from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medvit.errors import ReadError
from medvit.io.dicom.header import read_header
from medvit.io.dicom.pixels import decoder_problem, read_stored
from tests.make.dicom import CtSeries, compressed_slice, ct_slice, edit, ramp, save

STORED = CtSeries().hu[0].astype(np.int32) + 1024


def one_slice(folder: Path) -> Path:
    return save(ct_slice(CtSeries(), 0), folder / "a.dcm")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_plain_encoding_gives_the_same_values(tmp_path: Path, syntax: UID) -> None:
    dataset = ct_slice(CtSeries(), 0)
    path = save(dataset, tmp_path / "a.dcm")
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    stored = read_stored(read_header(path))
    np.testing.assert_array_equal(stored, STORED)
    assert stored.dtype.isnative


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_every_lossless_compression_gives_the_same_values(tmp_path: Path, syntax: UID) -> None:
    path = compressed_slice(tmp_path / "a.dcm", syntax)
    expected = ramp((1, 64, 64))[0].astype(np.int32) + 1024
    np.testing.assert_array_equal(read_stored(read_header(path)), expected)


def test_overlay_bits_above_the_stored_ones_are_dropped(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.PixelData = (STORED.astype(np.uint16) | 0x8000).tobytes()
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    np.testing.assert_array_equal(read_stored(read_header(save(dataset, tmp_path / "a"))), STORED)


def test_the_sign_of_stored_bits_reaches_the_value(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    values = np.where(STORED % 2 == 0, -STORED, STORED).astype(np.int16)
    dataset.PixelData = (values.view(np.uint16) & 0x0FFF).tobytes()
    dataset.BitsStored, dataset.HighBit = 12, 11
    stored = read_stored(read_header(save(dataset, tmp_path / "a")))
    np.testing.assert_array_equal(stored, values)


def test_pixels_cut_short_are_counted(tmp_path: Path) -> None:
    path = one_slice(tmp_path)
    path.write_bytes(path.read_bytes()[:-84])
    with pytest.raises(ReadError, match=r"a\.dcm: 300 of 384 bytes") as caught:
        read_stored(read_header(path))
    assert caught.value.reason == "truncated"


def test_compressed_rubbish_is_undecodable(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", JPEGLSLossless)
    raw = path.read_bytes()
    start = raw.index(b"\xff\xd8\xff")
    path.write_bytes(raw[: start + 2] + bytes(len(raw) - start - 10) + raw[-8:])
    with pytest.raises(ReadError, match="cannot be decoded") as caught:
        read_stored(read_header(path))
    assert caught.value.reason == "undecodable"


def test_a_codestream_of_another_size_is_undecodable(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", JPEGLSLossless)
    edit(path, Rows=20)
    with pytest.raises(ReadError) as caught:
        read_stored(read_header(path))
    assert caught.value.reason == "undecodable"


def test_a_missing_decoder_says_which_transfer_syntax(tmp_path: Path) -> None:
    path = one_slice(tmp_path)
    raw = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0", 1)
    path.write_bytes(raw)
    with pytest.raises(ReadError, match=r"1\.2\.840\.10008\.9\.9\.9") as caught:
        read_stored(read_header(path))
    assert caught.value.reason == "transfer_syntax"


def test_decoder_problems_are_empty_for_what_can_be_read() -> None:
    for syntax in ("1.2.840.10008.1.2.1", RLELossless, JPEGLosslessSV1):
        assert decoder_problem(syntax) == ""
    assert decoder_problem("1.2.840.10008.1.2.4.100").startswith("transfer syntax 1.2.840.1000")


def test_a_codestream_that_was_cut_is_not_made_up(tmp_path: Path) -> None:
    path = compressed_slice(tmp_path / "a.dcm", JPEG2000Lossless)
    raw = path.read_bytes()
    end = raw.rindex(b"\xff\xd9")
    path.write_bytes(raw[:end] + bytes(2) + raw[end + 2 :])
    with pytest.raises(ReadError, match=r"a\.dcm: .* without its last marker") as caught:
        read_stored(read_header(path))
    assert caught.value.reason == "truncated"


def test_a_file_without_pixels_is_no_image(tmp_path: Path) -> None:
    path = edit(one_slice(tmp_path), PixelData=None)
    with pytest.raises(ReadError, match=r"a\.dcm: holds no pixels") as caught:
        read_stored(read_header(path))
    assert caught.value.reason == "not_an_image"
