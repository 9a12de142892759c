"""Numbers in the text headers of volume files, checked as they are read."""

from __future__ import annotations

import math
import re
from pathlib import Path

from medvit.errors import ReadError

MOST_NUMBERS = 64
"""Longest list read: a transform of eight axes."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def whole_numbers(path: Path, key: str, text: str, *, count: int | None = None) -> list[int]:
    """Return the whole numbers of a field, at most 18 digits each.

    Raises:
        ReadError: `bad_value`, if it holds anything else, or not `count` of them.

    Examples:
        >>> whole_numbers(Path("a.mhd"), "DimSize", "512 512 50")
        [512, 512, 50]
    """
    words = text.split(maxsplit=MOST_NUMBERS)
    if not all(_WHOLE.fullmatch(word) for word in words) or not _is_right(len(words), count):
        raise _bad(path, key, text)
    return [int(word) for word in words]


def finite_numbers(path: Path, key: str, text: str, *, count: int) -> list[float]:
    """Return the numbers of a field, `count` of them, all finite.

    Raises:
        ReadError: `bad_value`, if it holds anything else.
    """
    words = text.split(maxsplit=MOST_NUMBERS)
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise _bad(path, key, text) from error
    if not _is_right(len(numbers), count) or not all(map(math.isfinite, numbers)):
        raise _bad(path, key, text)
    return numbers


def _is_right(found: int, count: int | None) -> bool:
    return found == count if count is not None else 0 < found <= MOST_NUMBERS


def _bad(path: Path, key: str, text: str) -> ReadError:
    msg = f"{path.name}: {key} is {text[:80]!r}, not the numbers it should be"
    return ReadError(msg, reason="bad_value", hint="write the volume again")
