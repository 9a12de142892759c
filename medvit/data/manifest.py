"""Labelled images as a CSV: `path,label,split,group` and soft `label:<class>` columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medvit.atomic import write_text
from medvit.errors import ConfigError, InputError

COLUMNS = ("path", "label", "split", "group")
SPLITS = ("train", "val", "test", "")
SOFT_PREFIX = "label:"
SOFT_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image of a manifest.

    Attributes:
        path: As written: relative to the manifest, or to `data.root`.
        label: Class name; empty means unlabelled.
        split: `train`, `val`, `test` or empty.
        group: Images of one group never straddle splits; empty means its own group.
        soft: Probability of each class in the order of `Manifest.soft_classes`.
    """

    path: str
    label: str
    split: str
    group: str
    soft: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of a manifest file, checked.

    Attributes:
        file: Where it was read from.
        rows: In the order of the file.
        soft_classes: Names of the soft columns, in the order of the file.
    """

    file: Path
    rows: tuple[ManifestRow, ...]
    soft_classes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes, sorted."""
        return tuple(sorted({row.label for row in self.rows if row.label} | {*self.soft_classes}))

    def of(self, split: str) -> tuple[ManifestRow, ...]:
        """Return the rows of one split."""
        return tuple(row for row in self.rows if row.split == split)


def read_manifest(file: Path, *, may_straddle: bool = False) -> Manifest:
    """Return a manifest, or say which line breaks which rule.

    Args:
        may_straddle: Accept groups on two sides, as is right for who judges the split.

    Raises:
        InputError: If the file cannot be read.
        ConfigError: If a column is missing or unknown, or a value breaks a rule.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: a manifest must be a readable UTF-8 file ({error})"
        raise InputError(msg) from error
    reader = csv.reader(text.splitlines())
    header = next(reader, [])
    soft = _check_header(file, header)
    rows = [
        _row(_Line(file, reader.line_num), header=header, values=values)
        for values in reader
        if values
    ]
    if not rows:
        msg = f"{file}: a manifest needs at least one row below its header, found 0"
        raise ConfigError(msg)
    _check_groups(file, rows, may_straddle=may_straddle)
    return Manifest(file, tuple(rows), soft)


def write_manifest(
    file: Path, rows: Sequence[ManifestRow], soft_classes: Sequence[str] = ()
) -> None:
    """Write rows as a manifest; whole or not at all.

    Args:
        soft_classes: Names of the soft columns, in the order of `ManifestRow.soft`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*COLUMNS, *(SOFT_PREFIX + name for name in soft_classes)))
    for row in rows:
        soft = (f"{share:.6g}" for share in row.soft) if row.soft else ("" for _ in soft_classes)
        writer.writerow((row.path, row.label, row.split, row.group, *soft))
    write_text(file, stream.getvalue())


@dataclass(frozen=True, slots=True)
class _Line:
    file: Path
    number: int

    def refused(self, value: str, *, rule: str) -> ConfigError:
        return ConfigError(f"{self.file}, line {self.number}: {rule}, got {value!r}")


def _check_header(file: Path, header: list[str]) -> tuple[str, ...]:
    line = _Line(file, 1)
    for name in ("path", "label", "split"):
        if name not in header:
            raise line.refused(",".join(header), rule=f"the header must name {name!r}")
    for name in header:
        if name not in COLUMNS and not name.startswith(SOFT_PREFIX):
            raise line.refused(name, rule="columns are path, label, split, group and label:<class>")
        if header.count(name) > 1:
            raise line.refused(name, rule="a column is named once")
    return tuple(name.removeprefix(SOFT_PREFIX) for name in header if name.startswith(SOFT_PREFIX))


def _row(line: _Line, *, header: list[str], values: list[str]) -> ManifestRow:
    if len(values) != len(header):
        rule = f"a row has {len(header)} values as the header, found {len(values)}"
        raise line.refused(",".join(values), rule=rule)
    cells = dict(zip(header, (value.strip() for value in values), strict=True))
    if not cells["path"]:
        raise line.refused(cells["path"], rule="path must not be empty")
    if cells["split"] not in SPLITS:
        raise line.refused(cells["split"], rule="split must be train, val, test or empty")
    soft = _soft_values(line, cells)
    return ManifestRow(cells["path"], cells["label"], cells["split"], cells.get("group", ""), soft)


def _soft_values(line: _Line, cells: dict[str, str]) -> tuple[float, ...]:
    given = {name: text for name, text in cells.items() if name.startswith(SOFT_PREFIX)}
    if not any(given.values()):
        return ()
    values: list[float] = []
    for name, text in given.items():
        try:
            value = float(text)
        except ValueError as error:
            raise line.refused(text, rule=f"{name} must be a number 0..1") from error
        if not 0.0 <= value <= 1.0:
            raise line.refused(text, rule=f"{name} must be a number 0..1")
        values.append(value)
    total = sum(values)
    if abs(total - 1.0) > SOFT_SUM_TOLERANCE:
        raise line.refused(str(round(total, 4)), rule="soft labels must sum to 1")
    return tuple(values)


def _check_groups(file: Path, rows: list[ManifestRow], *, may_straddle: bool) -> None:
    split_of: dict[str, str] = {}
    seen: set[str] = set()
    for row in rows:
        if row.path in seen:
            msg = f"{file}: a path is listed once, {row.path!r} is there twice"
            raise ConfigError(msg)
        seen.add(row.path)
        if may_straddle or not row.group:
            continue
        if split_of.setdefault(row.group, row.split) != row.split:
            msg = (
                f"{file}: a group never straddles splits, but group {row.group!r} "
                f"is in {split_of[row.group]!r} and {row.split!r}"
            )
            raise ConfigError(msg, hint="put the whole group on one side")
