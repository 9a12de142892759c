"""Typed access to a DICOM data set whose values may break their own type."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import pydicom
from pydicom.dataset import Dataset

T = TypeVar("T")

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
        """Return a value as text, empty when absent."""
        return self.get(keyword, lambda value: str(value).strip(), "")

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
