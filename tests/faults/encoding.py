"""Series in every encoding, and encodings that break their own rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.faults.jpeg_lossless import encode_jpeg_lossless
from tests.faults.scan import SCAN
from tests.faults.slices import (
    changed,
    ct_slices,
    put_words,
    save,
    save_all,
    spoiled,
    store,
    tagged,
    uid_element,
)
from tests.faults.truth import Fault, Truth, exact

HU = SCAN.hu()
GUESSED = frozenset({"no_meta", "not_dicom", "encoding", "transfer_syntax"})
CUT = frozenset({"truncated", "not_dicom", "missing_slices", "not_an_image"})
LENGTH = frozenset({"truncated", "bad_value", "encoding", "undecodable", "wrong_dimensions"})
SYNTAX = frozenset({"transfer_syntax", "encoding", "not_dicom", "undecodable"})

Writer = Callable[[Path], None]


def _in_syntax(syntax: str) -> Writer:
    """Return a writer in an encoding without compression of its own."""

    def write(folder: Path) -> None:
        slices = ct_slices()
        if syntax == ExplicitVRBigEndian:
            for number, dataset in enumerate(slices):
                put_words(dataset, HU[number] + 1024, order=">")
        save_all(folder, slices, syntax=syntax)

    return write


def _compressed(syntax: UID, **options: Any) -> Writer:
    def write(folder: Path) -> None:
        for path in save_all(folder, ct_slices()):
            dataset = pydicom.dcmread(path)
            dataset.compress(syntax, generate_instance_uid=False, **options)
            dataset.save_as(path, enforce_file_format=True)

    return write


def _near_lossless(folder: Path) -> None:
    _compressed(JPEGLSNearLossless, jls_error=2)(folder)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.LossyImageCompression = "01"
        dataset.save_as(path, enforce_file_format=True)


def _jpeg_lossless(folder: Path) -> None:
    for number, dataset in enumerate(ct_slices()):
        dataset.PixelData = encapsulate([encode_jpeg_lossless((HU[number] + 1024) & 0xFFFF)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        save(dataset, folder / f"{number:04d}.dcm", syntax=JPEGLosslessSV1)


def _wrong_sign_flag(folder: Path) -> None:
    """Compress words of signed values as unsigned, then call them signed in the header."""
    slices = ct_slices()
    for number, dataset in enumerate(slices):
        store(dataset, HU[number], intercept=0)
        dataset.PixelRepresentation = 0
    for path in save_all(folder, slices):
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.PixelRepresentation = 1
        dataset.save_as(path, enforce_file_format=True)


def _codestream_cut(folder: Path) -> None:
    _compressed(JPEG2000Lossless)(folder)
    path = sorted(folder.iterdir())[4]
    path.write_bytes(path.read_bytes()[:-200])


def _codestream_damaged(folder: Path) -> None:
    """Cut the codestream inside its fragment: the items of the file stay whole."""
    _compressed(JPEGLSLossless)(folder)
    path = sorted(folder.iterdir())[4]
    raw = path.read_bytes()
    place = raw.rindex(b"\xfe\xff\x00\xe0") + 8 + 40
    path.write_bytes(raw[:place] + b"\xff\xd9" * 30 + raw[place + 60 :])


def _deflated_cut(folder: Path) -> None:
    _in_syntax(DeflatedExplicitVRLittleEndian)(folder)
    path = sorted(folder.iterdir())[4]
    path.write_bytes(path.read_bytes()[:-300])


def _without_meta(*, implicit: bool) -> Writer:
    def write(folder: Path) -> None:
        for number, dataset in enumerate(ct_slices()):
            path = folder / f"{number:04d}.dcm"
            pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=True)

    return write


def _claiming(syntax: str) -> Writer:
    """Return a writer whose files claim another transfer syntax than they are written in."""

    def write(folder: Path) -> None:
        for number, dataset in enumerate(ct_slices()):
            save(dataset, folder / f"{number:04d}.dcm", like=syntax)

    return write


def _without_syntax(raw: bytes) -> bytes:
    element = uid_element(ExplicitVRLittleEndian)
    place = raw.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    length = int.from_bytes(raw[place : place + 4], "little") - len(element)
    raw = raw[:place] + length.to_bytes(4, "little") + raw[place + 4 :]
    return raw.replace(element, b"", 1)


def _declaring(length: int) -> Callable[[bytes], bytes]:
    def spoil(raw: bytes) -> bytes:
        place = raw.rindex(b"\xe0\x7f\x10\x00OW\0\0") + 8
        return raw[:place] + length.to_bytes(4, "little") + raw[place + 4 :]

    return spoil


def _with_icon(_number: int, dataset: Dataset) -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 8
    icon.SamplesPerPixel = 1
    icon.PhotometricInterpretation = "MONOCHROME2"
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit = 7
    icon.PixelRepresentation = 0
    icon.PixelData = bytes(64)
    icon["PixelData"].VR = "OB"
    dataset.IconImageSequence = Sequence([icon])
    referenced = Dataset()
    referenced.ImagePositionPatient = [900.0, 900.0, 900.0]
    referenced.PixelSpacing = [9.0, 9.0]
    dataset.SourceImageSequence = Sequence([referenced])


def _with_private(_number: int, dataset: Dataset) -> None:
    inner, item = Dataset(), Dataset()
    inner.private_block(0x0029, "MADE", create=True).add_new(0x01, "OB", bytes(10))
    inner.Rows = 3
    nested = Sequence([inner])
    nested.is_undefined_length = True
    inner.is_undefined_length_sequence_item = True
    item.private_block(0x0029, "MADE", create=True).add_new(0x02, "SQ", nested)
    outer = Sequence([item])
    dataset.private_block(0x0009, "MADE", create=True).add_new(0x01, "SQ", outer)
    dataset[0x00091001].is_undefined_length = True


def _with_long_header(_number: int, dataset: Dataset) -> None:
    block = dataset.private_block(0x0019, "MADE", create=True)
    block.add_new(0x01, "OB", b"\xe0\x7f\x10\x00OW\0\0\x04\0\0\0" * 8000)


def _with_unknown_sequence(raw: bytes) -> bytes:
    """Insert a private element of VR UN and undefined length: implicit items inside explicit."""
    item = b"\x08\x00\x00\x01\x04\x00\x00\x00ABCD"
    value = (
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        + item
        + b"\xfe\xff\x0d\xe0\0\0\0\0"
        + b"\xfe\xff\xdd\xe0\0\0\0\0"
    )
    element = b"\x09\x00\x10\x00LO\x04\x00MADE\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff" + value
    place = raw.index(b"\x10\x00\x10\x00PN")
    return raw[:place] + element + raw[place:]


def _with_padding(raw: bytes) -> bytes:
    return raw + b"\xfc\xff\xfc\xffOB\0\0" + (126).to_bytes(4, "little") + bytes(126)


def _one(*, tolerance_hu: float = 0.0) -> Callable[[], list[Truth]]:
    return lambda: [exact(SCAN, tolerance_hu=tolerance_hu)]


def _sound(name: str, wrong: str, write: Writer) -> Fault:
    return Fault(name, "encoding", wrong, write, _one(), must_read=True)


def _either(name: str, wrong: str, write: Writer, codes: frozenset[str]) -> Fault:
    """Return a fault whose pixels are whole: read with a word, or refused."""
    return Fault(name, "encoding", wrong, write, _one(), refuse=codes, say=codes)


def _refused(name: str, wrong: str, write: Writer, codes: frozenset[str]) -> Fault:
    return Fault(name, "encoding", wrong, write, refuse=codes)


ENCODING = (
    _sound("implicit", "Implicit VR: sound.", _in_syntax(ImplicitVRLittleEndian)),
    _sound(
        "big_endian", "Explicit VR Big Endian, retired: sound.", _in_syntax(ExplicitVRBigEndian)
    ),
    _sound(
        "deflated",
        "The whole data set is deflated: sound.",
        _in_syntax(DeflatedExplicitVRLittleEndian),
    ),
    _sound("rle", "RLE: sound.", _compressed(RLELossless)),
    _sound("jpeg_lossless", "JPEG lossless, 16 bit, selection value 1: sound.", _jpeg_lossless),
    _sound("jpeg_ls", "JPEG-LS: sound.", _compressed(JPEGLSLossless)),
    _sound("jpeg_2000", "JPEG 2000 without loss: sound.", _compressed(JPEG2000Lossless)),
    Fault(
        "jpeg_ls_near_lossless",
        "encoding",
        "JPEG-LS with a loss of up to 2 HU.",
        _near_lossless,
        _one(tolerance_hu=2),
        must_read=True,
        say=frozenset({"lossy_compression"}),
    ),
    _either(
        "jpeg_2000_sign_flag",
        "The codestream says unsigned, the header signed: the header is right.",
        _wrong_sign_flag,
        frozenset({"signedness"}),
    ),
    _refused(
        "jpeg_2000_cut",
        "The codestream of one slice is cut short.",
        _codestream_cut,
        frozenset({"truncated", "undecodable"}),
    ),
    Fault(
        "jpeg_ls_damaged",
        "encoding",
        "The codestream of one slice holds 60 bytes of nonsense.",
        _codestream_damaged,
        refuse=frozenset({"truncated", "undecodable"}),
        may_be_late=True,
    ),
    _refused(
        "deflated_cut",
        "One deflated slice is cut short.",
        _deflated_cut,
        CUT | {"undecodable", "encoding", "transfer_syntax"},
    ),
    Fault(
        "no_preamble",
        "encoding",
        "The file starts with its meta information, without preamble; all else is sound.",
        spoiled(lambda raw: raw[132:]),
        _one(),
        refuse=GUESSED,
    ),
    _either(
        "no_meta_implicit",
        "No preamble and no meta information; implicit VR.",
        _without_meta(implicit=True),
        GUESSED,
    ),
    _either(
        "no_meta_explicit",
        "No preamble and no meta information; explicit VR.",
        _without_meta(implicit=False),
        GUESSED,
    ),
    _either(
        "transfer_syntax_missing",
        "The meta information names no transfer syntax.",
        spoiled(_without_syntax),
        GUESSED,
    ),
    _either(
        "transfer_syntax_implicit",
        "Says implicit VR, is explicit.",
        _claiming(ImplicitVRLittleEndian),
        SYNTAX | CUT | {"no_sop_class", "not_ct"},
    ),
    _either(
        "transfer_syntax_compressed",
        "Says JPEG 2000, is not compressed.",
        _claiming(JPEG2000Lossless),
        SYNTAX | {"truncated"},
    ),
    _refused(
        "transfer_syntax_video",
        "Says MPEG-4, which holds no HU.",
        _claiming("1.2.840.10008.1.2.4.102"),
        SYNTAX | {"truncated"},
    ),
    _either(
        "transfer_syntax_unknown",
        "Names a transfer syntax that does not exist.",
        _claiming("1.2.3.4"),
        SYNTAX | {"truncated"},
    ),
    _sound(
        "icon_and_references",
        "An icon with its own size and pixels, and another image's place, nested: sound.",
        changed(_with_icon),
    ),
    _sound(
        "private_nested",
        "Private sequences of undefined length, nested: sound.",
        changed(_with_private),
    ),
    _sound(
        "unknown_sequence",
        "A private UN element of undefined length: sound.",
        spoiled(_with_unknown_sequence),
    ),
    _sound(
        "header_long",
        "96 kB of private bytes that look like pixel elements: sound.",
        changed(_with_long_header),
    ),
    _sound(
        "trailing_padding", "A padding element after the pixels: sound.", spoiled(_with_padding)
    ),
    _sound(
        "charset_unknown",
        "The character set has no meaning: sound but for names.",
        tagged(SpecificCharacterSet="ISO_IR 999"),
    ),
    _refused(
        "pixels_cut", "One file ends 100 bytes early.", spoiled(lambda raw: raw[:-100], 4), CUT
    ),
    _refused(
        "header_cut", "One file ends inside its header.", spoiled(lambda raw: raw[:420], 4), CUT
    ),
    _either(
        "pixels_declared_2_gb",
        "The pixel element of one slice claims 2 GB.",
        spoiled(_declaring(0x7FFFFFF0), 4),
        LENGTH | {"not_dicom", "missing_slices"},
    ),
    _refused(
        "pixels_declared_short",
        "The pixel element of one slice claims 64 bytes.",
        spoiled(_declaring(64), 4),
        LENGTH,
    ),
    _refused("rows_doubled", "Rows says 64, the pixels are those of 32.", tagged(Rows=64), LENGTH),
    _refused("rows_halved", "Rows says 16, the pixels are those of 32.", tagged(Rows=16), LENGTH),
    _refused(
        "columns_halved", "Columns says 20, the pixels are those of 40.", tagged(Columns=20), LENGTH
    ),
    _refused(
        "columns_one_less",
        "Columns says 39, the pixels are those of 40: every row slips.",
        tagged(Columns=39),
        LENGTH,
    ),
    _refused("rows_one_less", "Rows says 31, the pixels are those of 32.", tagged(Rows=31), LENGTH),
    _refused(
        "columns_one_less_on_one",
        "Columns of one slice says 39.",
        tagged(4, Columns=39),
        LENGTH | {"mixed_series"},
    ),
    _refused("rows_zero", "Rows says 0.", tagged(Rows=0), LENGTH | {"not_an_image", "too_small"}),
    _refused(
        "rows_huge",
        "Rows and columns say 65535.",
        tagged(Rows=65535, Columns=65535),
        LENGTH | {"too_large"},
    ),
    _refused(
        "frames_claimed",
        "A single slice says that it has 9 frames.",
        tagged(NumberOfFrames=9),
        LENGTH,
    ),
)
"""Faults of encoding."""
