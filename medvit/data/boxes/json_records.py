"""Records of a JSON file, read so that what is wrong is named by file and place."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvit.data.boxes.labelled import Xywh
from medvit.errors import InputError


@dataclass(frozen=True, slots=True)
class Record:
    """One object of a list in a JSON file; `place` names it in messages."""

    place: str
    values: dict[str, Any]

    def refused(self, rule: str, found: object, *, hint: str = "correct the file") -> InputError:
        """Return the error that a rule is broken."""
        return InputError(f"{self.place}: {rule}, got {_short(found)}", hint=hint)

    def key(self, name: str) -> Hashable:
        """Return an id: a whole number or a text.

        Raises:
            InputError: If it is missing or something else.
        """
        value = self._value(name)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            msg = f"{name} must be a whole number or a text"
            raise self.refused(msg, value)
        return value

    def number(self, name: str) -> float:
        """Return a finite number.

        Raises:
            InputError: If it is missing or something else.
        """
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            msg = f"{name} must be a number"
            raise self.refused(msg, value)
        if not math.isfinite(value):
            msg = f"{name} must be finite"
            raise self.refused(msg, value)
        return float(value)

    def box(self) -> Xywh:
        """Return `bbox`: left, top, width and height.

        Raises:
            InputError: If it is missing, not four finite numbers, or its size is negative.
        """
        value = self._value("bbox")
        if not isinstance(value, list) or len(value) != len("xywh"):
            msg = "bbox must be [left, top, width, height]"
            raise self.refused(msg, value)
        record = Record(
            self.place, dict(zip(("bbox x", "bbox y", "bbox w", "bbox h"), value, strict=True))
        )
        x, y, w, h = (record.number(name) for name in record.values)
        if w < 0 or h < 0:
            hint = "COCO boxes are left, top, width, height; not two corners"
            msg = "width and height of bbox must not be negative"
            raise self.refused(msg, value, hint=hint)
        return x, y, w, h

    def _value(self, name: str) -> Any:
        if name not in self.values:
            msg = f"{name!r} is missing"
            raise self.refused(msg, sorted(self.values))
        return self.values[name]


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: If it cannot be read or is no JSON; names the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as text ({error})"
        raise InputError(msg, hint="check the path") from error
    except (json.JSONDecodeError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        msg = f"{path.name}{line}: not a JSON file ({error})"
        raise InputError(msg, hint="give boxes as COCO JSON") from error


def records(path: Path, values: Any, name: str) -> Iterator[Record]:
    """Yield the objects of a list; `name` is its key in the file, or empty.

    Raises:
        InputError: If it is no list of objects.
    """
    called = f"{path.name}, {name}" if name else path.name
    if not isinstance(values, list):
        msg = f"{called}: must be a list, got {_short(values)}"
        raise InputError(msg, hint="give boxes as COCO JSON")
    for number, value in enumerate(values):
        place = f"{called}[{number}]"
        if not isinstance(value, dict):
            msg = f"{place}: must be an object, got {_short(value)}"
            raise InputError(msg)
        yield Record(place, value)


def _short(value: object, longest: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
