"""Typed access to the raw values of a DICOM data set, which may break their own type."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import pydicom

T = TypeVar("T")
D = TypeVar("D")

LONGEST_TEXT = 64
"""Characters kept of a text value: the longest that the values read here may have."""

# Pseudonymised series often carry hexadecimal hashes in place of UIDs.
_UID = re.compile(r"[0-9a-fA-F.-]{1,64}")

TAGS = {
    "AcquisitionNumber": 0x00200012,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "BurnedInAnnotation": 0x00280301,
    "Columns": 0x00280011,
    "ConvolutionKernel": 0x00181210,
    "FrameAcquisitionNumber": 0x00209156,
    "FrameOfReferenceUID": 0x00200052,
    "FrameType": 0x00089007,
    "HighBit": 0x00280102,
    "ImageOrientationPatient": 0x00200037,
    "ImagePositionPatient": 0x00200032,
    "ImageType": 0x00080008,
    "InstanceNumber": 0x00200013,
    "LossyImageCompression": 0x00282110,
    "MediaStorageSOPClassUID": 0x00020002,
    "Modality": 0x00080060,
    "NumberOfFrames": 0x00280008,
    "PatientID": 0x00100020,
    "PhotometricInterpretation": 0x00280004,
    "PixelRepresentation": 0x00280103,
    "PixelSpacing": 0x00280030,
    "ReferencedFileID": 0x00041500,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "RescaleType": 0x00281054,
    "Rows": 0x00280010,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "SamplesPerPixel": 0x00280002,
    "SeriesInstanceUID": 0x0020000E,
    "StudyInstanceUID": 0x0020000D,
    "TemporalPositionIndex": 0x00209128,
    "TransferSyntaxUID": 0x00020010,
}
"""The values that medvit reads, by the keywords of PS3.6."""

PARSE_ERRORS = (
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom is known to raise on broken input."""


class Values:
    """Typed access to raw values that remembers which of them broke their type."""

    def __init__(self, raw: Mapping[int, bytes], *, is_little: bool = True) -> None:
        self._raw = raw
        self._is_little = is_little
        self.bad: list[str] = []

    def text(self, keyword: str) -> str:
        """Return a value as text that can be printed, empty when absent."""
        return self._get(keyword, _printable, "")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return all values as upper-case text."""
        return self._get(keyword, _text_tuple, ())

    def hashed(self, keyword: str) -> str:
        """Return a short hash of a value that must not be kept itself, empty when absent."""
        return self._get(keyword, lambda raw: hashlib.sha256(raw).hexdigest()[:12], "")

    def uid(self, keyword: str) -> str:
        """Return a UID; one that breaks the form of UIDs is hashed, as it may hold anything."""
        return self._get(keyword, lambda raw: plain_uid(raw.decode("latin-1")), "")

    def unsigned(self, keyword: str, default: int = 0) -> int:
        """Return a binary whole number of two or four bytes."""
        raw = self._raw.get(TAGS[keyword])
        if not raw:
            return default
        if len(raw) not in (2, 4):
            self.bad.append(keyword)
            return default
        return int.from_bytes(raw, "little" if self._is_little else "big")

    def whole(self, keyword: str) -> int | None:
        """Return a whole number written as text, None when absent."""
        return self._get(keyword, lambda raw: int(_number_text(raw)), None)

    def number(self, keyword: str) -> float | None:
        """Return a finite number written as text, None when absent."""
        return self._get(keyword, _finite, None)

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return exactly `count` finite numbers written as text, None when absent."""
        return self._get(keyword, lambda raw: _finite_tuple(raw, count), None)

    def _get(self, keyword: str, convert: Callable[[bytes], T], default: D) -> T | D:
        raw = self._raw.get(TAGS[keyword], b"").strip(b" \0")
        if not raw:
            return default
        try:
            return convert(raw)
        except ValueError:
            self.bad.append(keyword)
            return default


def plain_uid(value: str) -> str:
    """Return a UID of (hexadecimal) digits and dots as it is, and a hash of anything else.

    Examples:
        >>> plain_uid("1.2.840 "), plain_uid("Doe^Jane")
        ('1.2.840', 'invalid-ff37cfdaa951')
    """
    text = value.strip(" \0")
    if not text or _UID.fullmatch(text):
        return text
    return "invalid-" + hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def _printable(raw: bytes) -> str:
    text = raw[:LONGEST_TEXT].decode("ascii", "replace")
    return text if text.isprintable() and text.isascii() else _masked(text)


def _masked(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)


def _text_tuple(raw: bytes) -> tuple[str, ...]:
    return tuple(_printable(part.strip(b" \0")).upper() for part in raw.split(b"\\"))


def _number_text(raw: bytes) -> bytes:
    # Python reads 1_000 as a number, DICOM does not.
    if b"_" in raw:
        msg = "a number holds digits, got an underscore"
        raise ValueError(msg)
    return raw


def _finite(raw: bytes) -> float:
    number = float(_number_text(raw))
    if not math.isfinite(number):
        msg = f"a number must be finite, got {number}"
        raise ValueError(msg)
    return number


def _finite_tuple(raw: bytes, count: int) -> tuple[float, ...]:
    numbers = tuple(map(_finite, raw.split(b"\\")))
    if len(numbers) != count:
        msg = f"{count} numbers expected, got {len(numbers)}"
        raise ValueError(msg)
    return numbers
