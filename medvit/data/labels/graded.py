"""Graded labels as elpv has them: a probability of a defect for each image, and its run."""

from __future__ import annotations

import csv
from pathlib import Path

from medvit.data.labels.label_set import ImageLabels, LabelSet, Problem
from medvit.data.manifest import ManifestRow
from medvit.errors import InputError

DEFECT, SOUND = "defect", "sound"
COLUMNS = ("image", "prob")


def read_graded(file: Path, images: Path | None = None) -> LabelSet:
    """Return images with soft labels from a CSV with `image,prob` and, if there is one, `run`.

    The label is the likelier class, the soft labels keep the grade; a run is a group:
    neighbouring cells of one module look alike. Runs count within a `type`.

    Raises:
        InputError: If the file or a column is missing.
    """
    root = images or (file.parent / "images" if (file.parent / "images").is_dir() else file.parent)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            lines = list(reader)
            header = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: graded labels must be a readable UTF-8 CSV ({error})"
        raise InputError(msg, hint="check the path") from error
    if not set(COLUMNS) <= set(header):
        msg = f"{file.name}, line 1: graded labels need the columns image,prob, got {list(header)}"
        raise InputError(msg, hint="name the columns image,prob and, if there is one, run")
    found: dict[str, ImageLabels] = {}
    problems = []
    for number, line in enumerate(lines, start=2):
        where = f"{file.name}, line {number}"
        grade = _grade(line["prob"])
        name = line["image"]
        if grade is None:
            rule = f"prob must be a number 0..1, got {line['prob']!r}: taken as unlabelled"
            problems.append(Problem(where, rule))
        if name in found:
            problems.append(Problem(where, f"{name} is graded twice: the first grade is kept"))
            continue
        group = "-".join(part for part in (line.get("type"), line.get("run")) if part)
        label = "" if grade is None else (DEFECT if grade >= 0.5 else SOUND)
        soft = () if grade is None else (grade, 1.0 - grade)
        found[name] = ImageLabels(
            ManifestRow(name, label, "", group if line.get("run") else "", soft)
        )
    missing = [name for name in sorted(found) if not (root / name).is_file()]
    problems += [Problem(name, f"no such image in {root.name}/") for name in missing]
    ordered = tuple(found[name] for name in sorted(found))
    return LabelSet(root, ordered, tuple(problems), (DEFECT, SOUND))


def _grade(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None
