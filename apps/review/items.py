"""What the panel lists: the findings of a case, or the case itself where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from medvit.findings.finding import Finding
from medvit.geometry import Affine, lps_to_index
from medvit.store.rows import CaseRow, DecisionRow, FindingRow, State

WHOLE_CASE = ""
"""Target of a decision about the case as a whole."""

LEAST_TOLD, MOST_TOLD = 0.0005, 0.9995
"""Beyond them a probability would round to 0 or 100 %."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing a reader can decide.

    Attributes:
        target: Finding id, or `WHOLE_CASE`.
        number: From 1 in the order of the list; 0 for the case as a whole.
        where: Slice and diameter, or the box, in a few words.
        facts: Names and values for the card.
        version: Of the decisions so far; lets the store notice that another reader was faster.
        finding: None for the case as a whole.
    """

    target: str
    number: int
    label: str
    state: State
    probability: float | None
    where: str
    facts: tuple[tuple[str, str], ...]
    decided_by: str
    decided_at: datetime | None
    version: int
    finding: Finding | None = None

    @property
    def title(self) -> str:
        """What the card is headed with."""
        return f"Finding {self.number}: {self.label}" if self.number else self.label


def items_of(case: CaseRow, rows: Sequence[FindingRow], depth: int | None) -> list[Item]:
    """Return what can be decided about a case.

    Args:
        case: The case.
        rows: Its findings.
        depth: Slices of the volume; None for images and volumes that cannot be opened.
    """
    if rows:
        return [_finding_item(row, number, depth) for number, row in enumerate(rows, 1)]
    return [_case_item(case)]


def as_data(item: Item) -> dict[str, Any]:
    """Return an item as the panel and the viewers in the browser take it."""
    return {
        "id": item.target,
        "number": item.number,
        "label": item.label,
        "state": item.state,
        "probability": item.probability,
        "where": item.where,
    }


def circles_of(items: Sequence[Item], affine: Affine) -> list[dict[str, Any]]:
    """Return the items that have a place, with their index (z, y, x) in the volume."""
    circles = (_circle(item, affine) for item in items)
    return [circle for circle in circles if circle is not None]


def _circle(item: Item, affine: Affine) -> dict[str, Any] | None:
    found = item.finding
    if found is None or found.x_mm is None or found.y_mm is None or found.z_mm is None:
        return None
    index = lps_to_index(affine, (found.x_mm, found.y_mm, found.z_mm)).tolist()
    return {**as_data(item), "index": index, "diameter": found.diameter_mm or 0.0}


def box_data(item: Item) -> dict[str, Any]:
    """Return an item with its box in pixels, None where it has none."""
    return {**as_data(item), "box": _box(item.finding)}


def history_of(decisions: Sequence[DecisionRow], target: str) -> list[dict[str, Any]]:
    """Return what was decided about one target, newest first."""
    own = [row for row in decisions if (row.finding_id or WHOLE_CASE) == target]
    return [
        {
            "at": row.decided_at.isoformat(),
            "by": row.reader,
            "what": _what(row),
            "note": row.note,
            "reason": row.reason_code.replace("_", " "),
            "seconds": row.seconds,
        }
        for row in reversed(own)
    ]


def _what(row: DecisionRow) -> str:
    """Say what a decision did, in a few words."""
    if row.action == "relabel":
        return f"relabel to {row.label}"
    if row.action not in ("add", "adjust") or row.geometry is None:
        return row.action
    place = row.geometry
    if "x_min" in place:
        box = [int(place[name]) for name in ("x_min", "y_min", "x_max", "y_max")]
        where = f"x {box[0]} to {box[2]}, y {box[1]} to {box[3]}"
    else:
        where = f"{place['diameter_mm']:.1f} mm"
    return f"{row.action} {row.label}, {where}" if row.label else f"{row.action} to {where}"


def percent(probability: float) -> str:
    """Return a probability for readers; no model is certain, so none is 0 or 100. As in dom.js."""
    if probability >= MOST_TOLD:
        return "> 99.9 %"
    return "< 0.1 %" if probability < LEAST_TOLD else f"{100 * probability:.1f} %"


def _finding_item(row: FindingRow, number: int, depth: int | None) -> Item:
    found = row.current
    where, facts = _image_place(found) if found.kind == "image" else _ct_place(found, depth)
    probability = percent(found.probability)
    return Item(
        target=found.finding_id,
        number=number,
        label=row.label_now,
        state=row.state,
        probability=found.probability,
        where=where,
        facts=(*facts, ("Probability", probability), ("Model", found.model or "-")),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        version=row.version,
        finding=found,
    )


def _case_item(case: CaseRow) -> Item:
    whole = "Whole image" if case.kind == "image" else "Whole scan"
    facts = [("Decision", "about the case as a whole")]
    if case.probability is not None:
        facts.append(("Probability", percent(case.probability)))
    return Item(
        target=WHOLE_CASE,
        number=0,
        label=f"{whole}: {case.label_now or 'no findings'}",
        state=case.state,
        probability=case.probability,
        where="no finding has a place in it",
        facts=tuple(facts),
        decided_by=case.decided_by,
        decided_at=case.decided_at,
        version=case.version,
    )


def _ct_place(found: Finding, depth: int | None) -> tuple[str, tuple[tuple[str, str], ...]]:
    number = "-" if found.index_z is None else str(found.index_z + 1)
    place = f"{number} of {depth}" if depth else number
    diameter = "-" if found.diameter_mm is None else f"{found.diameter_mm:.1f} mm"
    axes = (found.x_mm, found.y_mm, found.z_mm)
    lps = ", ".join("-" if mm is None else f"{mm:.1f}" for mm in axes)
    facts = (("Slice", place), ("Diameter", diameter), ("LPS", f"{lps} mm"))
    return f"slice {place}, {diameter}", facts


def _image_place(found: Finding) -> tuple[str, tuple[tuple[str, str], ...]]:
    box = _box(found)
    if box is None:
        return "whole image", (("Box", "none"),)
    width, height = box[2] - box[0], box[3] - box[1]
    place = f"x {box[0]} to {box[2]}, y {box[1]} to {box[3]}"
    return f"{width} x {height} px", (("Box", place), ("Size", f"{width} x {height} px"))


def _box(found: Finding | None) -> tuple[int, int, int, int] | None:
    if found is None:
        return None
    x_min, y_min, x_max, y_max = found.x_min, found.y_min, found.x_max, found.y_max
    if x_min is None or y_min is None or x_max is None or y_max is None:
        return None
    return x_min, y_min, x_max, y_max
