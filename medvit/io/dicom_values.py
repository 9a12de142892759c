"""Typed access to a DICOM data set whose values may break their own type."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import pydicom
from pydicom.dataset import Dataset

T = TypeVar("T")

LONGEST_TEXT = 64
"""Characters kept of a text value: the longest that the values read here may have."""

# Pseudonymised series often carry hexadecimal hashes in place of UIDs.
_UID = re.compile(r"[0-9a-fA-F.-]{1,64}")

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
    """Typed access to a data set that remembers which values broke their type."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.bad: list[str] = []

    def get(self, keyword: str, convert: Callable[[object], T], default: T) -> T:
        """Return a converted value, or the default when it is absent or broken."""
        try:
            value = self._dataset.get(keyword)
            if value is None or value == "":
                return default
            return convert(value)
        except PARSE_ERRORS:
            self.bad.append(keyword)
            return default

    def text(self, keyword: str) -> str:
        """Return a value as text that can be printed, empty when absent."""
        return self.get(keyword, _printable, "")

    def uid(self, keyword: str) -> str:
        """Return a UID; one that breaks the form of UIDs is hashed, as it may hold anything."""
        return self.get(keyword, lambda value: plain_uid(str(value)), "")

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return a whole number."""
        return self.get(keyword, lambda value: int(str(value)), default)

    def number(self, keyword: str) -> float | None:
        """Return a finite number, None when absent."""
        return self.get(keyword, _finite, None)

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return exactly `count` finite numbers, None when absent."""
        return self.get(keyword, lambda value: _finite_tuple(value, count), None)

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return all values as upper-case text."""
        return self.get(keyword, _text_tuple, ())


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


def _printable(value: object) -> str:
    text = str(value).strip(" \0")[:LONGEST_TEXT]
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)


def _finite(value: object) -> float | None:
    number = float(str(value))
    if not math.isfinite(number):
        msg = f"a number must be finite, got {number}"
        raise ValueError(msg)
    return number


def _finite_tuple(value: object, count: int) -> tuple[float, ...] | None:
    numbers = tuple(float(str(part)) for part in cast("Sequence[object]", value))
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        msg = f"{count} finite numbers expected, got {len(numbers)}"
        raise ValueError(msg)
    return numbers


def _text_tuple(value: object) -> tuple[str, ...]:
    parts = (value,) if isinstance(value, str) else cast("Sequence[object]", value)
    return tuple(str(part).strip().upper() for part in parts)
