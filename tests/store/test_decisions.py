"""The rules for a decision, without a database."""

from __future__ import annotations

import math
from typing import Any

import pytest

from medvit.errors import StoreError
from medvit.io.case import Kind
from medvit.store.decisions import checked
from medvit.store.rows import Decision

CENTRE = {"x_mm": 1.5, "y_mm": -2.0, "z_mm": 3.0, "diameter_mm": 8.0}
BOX = {"x_min": 1, "y_min": 2, "x_max": 5, "y_max": 9}


def _decision(**changes: Any) -> Decision:
    values = {"case_id": "c", "finding_id": "f", "action": "accept", "reader": "Ann"} | changes
    return Decision(**values)


def _added(geometry: dict[str, Any]) -> Decision:
    return _decision(finding_id=None, action="add", label="x", geometry=geometry)


def _refusal(decision: Decision, *, kind: Kind = "ct") -> str:
    with pytest.raises(StoreError) as refused:
        checked(decision, kind=kind)
    return refused.value.message


def test_texts_are_stripped() -> None:
    clean = checked(_decision(reader=" Ann ", action="relabel", label=" scar\n"), kind="ct")
    assert (clean.reader, clean.label) == ("Ann", "scar")


@pytest.mark.parametrize(
    "name", ["Ann\N{NO-BREAK SPACE}B", "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}"]
)
def test_any_writing_makes_a_name(name: str) -> None:
    assert checked(_decision(reader=name), kind="ct").reader == name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reader": " "}, "needs the reader's name (1 to 100 characters), got none"),
        ({"reader": "A" * 101}, "at most 100 characters, got 101"),
        ({"reader": "A\nB"}, "one line of printable text, got 'A\\nB'"),
        ({"reader": "A\0"}, "one line of printable text"),
        ({"reader": "\ud800"}, "valid Unicode, got '\\ud800'"),
        ({"label": "L" * 101}, "a label has at most 100 characters, got 101"),
        ({"label": "a\x1b[31m"}, "one line of printable text"),
        ({"note": "n" * 4001}, "at most 4000 characters and no NUL, got 4001"),
        ({"note": "a\0"}, "no NUL"),
        ({"note": "\udcff"}, "valid Unicode"),
        (
            {"action": "delete"},
            "adjust, skip, undo, got 'delete'",
        ),
        ({"action": "relabel"}, "relabel needs a label, got none"),
        ({"action": "adjust"}, "adjust needs a geometry, got none"),
        ({"geometry": CENTRE}, "accept takes no geometry"),
        ({"action": "adjust", "finding_id": None, "geometry": CENTRE}, "about a finding, got"),
        (
            {"action": "add", "label": "x", "geometry": CENTRE},
            "add makes a new finding, got finding id 'f'",
        ),
    ],
)
def test_a_broken_rule_is_named_with_its_value(changes: dict[str, Any], said: str) -> None:
    assert said in _refusal(_decision(**changes))


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        ({}, "got none"),
        ({"x_mm": 1.0}, "needs x_mm, y_mm, z_mm, diameter_mm"),
        (CENTRE | {"index_z": 1}, "needs x_mm"),
        (CENTRE | {"radius_mm": 1}, "radius_mm"),
        (CENTRE | {"x_mm": math.nan}, "x_mm must be finite, got nan"),
        (CENTRE | {"z_mm": math.inf}, "z_mm must be finite, got inf"),
        (CENTRE | {"y_mm": "3"}, "y_mm must be a number, got '3'"),
        (CENTRE | {"y_mm": True}, "y_mm must be a number, got True"),
        (CENTRE | {"diameter_mm": 0}, "diameter_mm must be in (0, 500], got 0"),
        (CENTRE | {"diameter_mm": 501}, "got 501"),
        (CENTRE | {"index_z": 1.5, "index_y": 1, "index_x": 1}, "index_z must be a whole number"),
        (CENTRE | {"index_z": -1, "index_y": 1, "index_x": 1}, "from 0, got -1"),
    ],
)
def test_a_centre_in_ct_is_checked(geometry: dict[str, Any], said: str) -> None:
    assert said in _refusal(_added(geometry))


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        (CENTRE, "needs x_min, y_min, x_max, y_max"),
        (BOX | {"x_min": 5}, "x_min < x_max and y_min < y_max, got [5, 2, 5, 9]"),
        (BOX | {"y_max": 1}, "got [1, 2, 5, 1]"),
        (BOX | {"x_min": -1}, "x_min must be a whole number from 0, got -1"),
        (BOX | {"x_max": 4.5}, "x_max must be a whole number from 0, got 4.5"),
        (BOX | {"x_max": 2**31}, "x_max must be a whole number"),
    ],
)
def test_a_box_in_an_image_is_checked(geometry: dict[str, Any], said: str) -> None:
    assert said in _refusal(_added(geometry), kind="image")


def test_whole_numbers_become_integers() -> None:
    clean = checked(_added({key: float(value) for key, value in BOX.items()}), kind="image")
    assert clean.geometry == BOX
    assert all(isinstance(value, int) for value in (clean.geometry or {}).values())
