"""What a decision must be before the store takes it."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from medvit.errors import StoreError
from medvit.io.case import Kind
from medvit.store.review import is_add, standing_decisions
from medvit.store.rows import Action, Decision, DecisionRow

READER_MAX = 100
LABEL_MAX = 100
NOTE_MAX = 4000
NOT_IN_A_LINE = {"Cc", "Zl", "Zp"}
"""Unicode categories of control characters and of line and paragraph ends."""
DIAMETER_MAX_MM = 500.0
REASON_CODE = re.compile(r"[a-z0-9_]{0,40}")
TOKEN = re.compile(r"[A-Za-z0-9-]{0,40}")
CENTRE = ("x_mm", "y_mm", "z_mm", "diameter_mm")
INDEX = ("index_z", "index_y", "index_x")
BOX = ("x_min", "y_min", "x_max", "y_max")


def checked(decision: Decision, *, kind: Kind) -> Decision:
    """Return a decision that obeys the rules, its texts stripped.

    Raises:
        StoreError: With the rule and the value that breaks it.
    """
    reader = one_line(decision.reader, "the reader's name", longest=READER_MAX)
    if not reader:
        msg = f"a decision needs the reader's name (1 to {READER_MAX} characters), got none"
        raise StoreError(msg, hint="say who you are before you decide")
    label = one_line(decision.label, "a label", longest=LABEL_MAX)
    if len(decision.note) > NOTE_MAX or "\0" in decision.note:
        msg = f"a note has at most {NOTE_MAX} characters and no NUL, got {len(decision.note)}"
        raise StoreError(msg)
    _check_action(decision, label)
    _check_extras(decision)
    geometry = decision.geometry
    if geometry is not None:
        geometry = _checked_centre(geometry) if kind == "ct" else _checked_box(geometry)
    _check_unicode(decision.note)
    return replace(decision, reader=reader, label=label, geometry=geometry)


def added_id(case_id: str, decisions: Sequence[DecisionRow]) -> str:
    """Return the id of a finding that a reader adds after these decisions."""
    text = f"{case_id}\0reader\0{max((row.id for row in decisions), default=0)}"
    return "r-" + hashlib.sha256(text.encode()).hexdigest()[:12]


def added_ids(decisions: Sequence[DecisionRow]) -> set[str | None]:
    """Return the ids of findings that readers added and nobody took back."""
    return {row.finding_id for row in standing_decisions(decisions) if is_add(row)}


def undone_by(decision: Decision, about: Sequence[DecisionRow]) -> int:
    """Return the number of the decision that an undo takes back.

    Raises:
        StoreError: If nothing stands that could be undone.
    """
    standing = standing_decisions(about)
    if not standing:
        what = f"finding {decision.finding_id}" if decision.finding_id else "the case as a whole"
        msg = f"{decision.case_id}: there is no decision about {what} left to undo"
        raise StoreError(msg)
    return standing[-1].id


def one_line(value: str, what: str, *, longest: int) -> str:
    """Return a text without blanks around it.

    Raises:
        StoreError: If it is longer than `longest`, has control characters or line ends, or is
            no valid Unicode.
    """
    text = value.strip()
    _check_unicode(text)
    if len(text) > longest:
        msg = f"{what} has at most {longest} characters, got {len(text)}"
        raise StoreError(msg)
    if any(unicodedata.category(c) in NOT_IN_A_LINE for c in text):
        msg = f"{what} must be one line of printable text, got {text!r}"
        raise StoreError(msg)
    return text


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        msg = f"text must be valid Unicode, got {text[error.start : error.end]!r}"
        raise StoreError(msg) from error


def _check_action(decision: Decision, label: str) -> None:
    action = decision.action
    known = get_args(Action)
    if action not in known:
        msg = f"an action is one of {', '.join(known)}, got {action!r}"
        raise StoreError(msg)
    if action in ("relabel", "add") and not label:
        msg = f"{decision.case_id}: {action} needs a label, got none"
        raise StoreError(msg)
    if (action in ("add", "adjust")) != (decision.geometry is not None):
        needed = "needs a geometry, got none" if decision.geometry is None else "takes no geometry"
        msg = f"{decision.case_id}: {action} {needed}"
        raise StoreError(msg)
    if (action == "add" and decision.finding_id) or (
        action == "adjust" and decision.finding_id is None
    ):
        rule = "makes a new finding" if action == "add" else "is about a finding"
        msg = f"{decision.case_id}: {action} {rule}, got finding id {decision.finding_id!r}"
        raise StoreError(msg)


def _check_extras(decision: Decision) -> None:
    if not REASON_CODE.fullmatch(decision.reason_code):
        msg = f"a reason code has at most 40 of a-z, 0-9 and _, got {decision.reason_code!r}"
        raise StoreError(msg)
    seconds = decision.seconds
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        msg = f"the seconds of a decision must be finite and not negative, got {seconds}"
        raise StoreError(msg)
    if not TOKEN.fullmatch(decision.token):
        msg = f"a token has at most 40 letters, digits and -, got {decision.token!r}"
        raise StoreError(msg)


def _checked_centre(geometry: Mapping[str, float]) -> dict[str, float]:
    keys = CENTRE if set(geometry) == set(CENTRE) else (*CENTRE, *INDEX)
    values = _numbers(geometry, keys)
    if not 0 < values["diameter_mm"] <= DIAMETER_MAX_MM:
        msg = f"diameter_mm must be in (0, {DIAMETER_MAX_MM:g}], got {values['diameter_mm']:g}"
        raise StoreError(msg)
    return values | {key: _whole(key, values[key]) for key in INDEX if key in values}


def _checked_box(geometry: Mapping[str, float]) -> dict[str, float]:
    box = {key: _whole(key, value) for key, value in _numbers(geometry, BOX).items()}
    if box["x_min"] >= box["x_max"] or box["y_min"] >= box["y_max"]:
        msg = f"a box needs x_min < x_max and y_min < y_max, got {[box[key] for key in BOX]}"
        raise StoreError(msg)
    return dict(box)


def _numbers(geometry: Mapping[str, float], keys: Sequence[str]) -> dict[str, float]:
    if set(geometry) != set(keys):
        msg = f"the geometry needs {', '.join(keys)}, got {', '.join(sorted(geometry)) or 'none'}"
        raise StoreError(msg)
    for key, value in geometry.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            msg = f"{key} must be a number, got {value!r}"
            raise StoreError(msg)
        if not math.isfinite(value):
            msg = f"{key} must be finite, got {value}"
            raise StoreError(msg)
    return {key: geometry[key] for key in keys}


def _whole(key: str, value: float) -> int:
    if value != int(value) or not 0 <= value < 2**31:
        msg = f"{key} must be a whole number from 0, got {value:g}"
        raise StoreError(msg)
    return int(value)
