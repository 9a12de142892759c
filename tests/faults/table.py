"""The table of faults that people read: what is wrong, what is right, and who gets it right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.catalogue import FAULTS
from tests.faults.truth import Fault

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

HEAD = """\
# Broken series, and who reads them rightly

{kinds} kinds of CT series: sound ones that mislead a hasty reader, and broken ones. Each is
made by a function of `tests/faults` (numpy, pydicom and nibabel suffice) and has a truth: the
HU of every voxel at its place in the patient, or a refusal with the right reason. Write them
all with `python -m tests.faults FOLDER` and try any reader; `python benchmarks/readers.py
faults` runs the comparison below and writes this page.

The rule behind every truth: never a wrong millimetre and never a wrong HU without a word.

- medvit is right when each volume that it trusts is right voxel by voxel, each refusal has a
  right reason, nothing sound is refused, and what must be said is said.
- A rival is right when a volume that it returns is right voxel by voxel, whatever its axes;
  no word is asked of it, and any error counts as a refusal.
- `right`, `refused` (rightly); `unread` (sound, but an error), `warned` (wrong values or places
  beside a warning), `wrong` (the same without a word), `crashed` (or no answer in a minute);
  `-` (a format it has no reader for here, or a question that it is not asked).
"""

GROUPS = {
    "order": "Order and completeness",
    "geometry": "Place and shape",
    "values": "What stored values mean",
    "kinds": "What a file is",
    "encoding": "Encoding",
    "frames": "Multi-frame files",
    "files": "Files and names",
    "formats": "Volume files",
}


def fault_table(sections: Mapping[str, Any]) -> str:
    """Return the page, with the outcomes of the last run where there was one."""
    figures = sections.get("faults", {}).get("figures", {})
    answers: dict[str, dict[str, list[str]]] = figures.get("answers", {})
    parts = [HEAD.format(kinds=len(FAULTS)), _summary(answers)]
    for group, title in GROUPS.items():
        rows = [_row(fault, answers) for fault in FAULTS.values() if fault.group == group]
        names = ["kind", "what is wrong", "right answer", *answers]
        parts.append(f"## {title}\n\n{_line(names)}\n{'|---' * len(names)}|\n" + "\n".join(rows))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def right_answer(fault: Fault) -> str:
    """Return the truth of a fault in words."""
    codes = ", ".join(f"`{code}`" for code in sorted(fault.refuse))
    said = f", saying {' or '.join(f'`{code}`' for code in sorted(fault.say))}" if fault.say else ""
    count = len(fault.volumes())
    read = f"read{f' {count} volumes' if count > 1 else ''}{said}"
    if fault.must_read:
        return read + (f"; the other file: {codes}" if codes else "")
    if fault.may_find_nothing:
        return f"nothing found, or refuse: {codes}"
    if not count:
        return f"refuse: {codes}"
    return f"{read}; or refuse: {codes}" if fault.say != fault.refuse else f"{read}; or refuse"


def _summary(answers: Mapping[str, Mapping[str, list[str]]]) -> str:
    if not answers:
        return ""
    outcomes = ["right", "refused", "unread", "warned", "wrong", "crashed", "not asked"]
    lines = [_line(["reader", *outcomes]), "|---" * (len(outcomes) + 1) + "|"]
    for reader, rows in answers.items():
        found = [row[0] for row in rows.values()]
        lines.append(_line([reader, *(str(found.count(outcome)) for outcome in outcomes)]))
    return "\n".join(lines)


def _row(fault: Fault, answers: Mapping[str, Mapping[str, list[str]]]) -> str:
    found = [rows.get(fault.name, ["-"])[0] for rows in answers.values()]
    cells = ["-" if outcome == "not asked" else outcome for outcome in found]
    return _line([f"`{fault.name}`", fault.wrong, right_answer(fault), *cells])


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
