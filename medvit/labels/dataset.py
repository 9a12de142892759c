"""Versions of a data set: labels of one moment, written once, with a hash of every file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.data.labels.coco import write_coco
from medvit.data.labels.label_set import Box, ImageLabels
from medvit.data.manifest import Manifest, ManifestRow, read_manifest, write_manifest
from medvit.errors import InputError
from medvit.io.case import Kind
from medvit.labels.cases import Mark, Source, Standing
from medvit.labels.places import BOX, SPHERE

MANIFEST = "manifest.csv"
PROVENANCE = "provenance.csv"
DATASET = "dataset.json"
CASES = "cases.json"
BOXES: Mapping[Standing, str] = {
    "is": "boxes.json",
    "not": "rejected.json",
    "open": "open.json",
}
"""Accepted boxes, hard negatives, and what nobody has decided about."""

POINTS: Mapping[Standing, str] = {
    "is": "annotations.csv",
    "not": "rejected.csv",
    "open": "excluded.csv",
}
"""The readers' nodules, hard negatives, and what counts neither way, in LUNA16's columns."""

POINT_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
NOT_LABELS = frozenset({PROVENANCE, CASES})
"""Files that say where labels come from; they do not count as another data set."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One case of a data set.

    Attributes:
        path: As in the manifest: relative to the version's folder, or absolute for a scan.
        content: SHA-256 of an image file, or a fingerprint of a scan.
        scan: Where a CT lies: `source, root, files, series_uid`; empty for an image.
    """

    case_id: str
    path: str
    label: str
    split: str
    group: str
    content: str
    marks: tuple[Mark, ...] = ()
    scan: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A version on the disk.

    Attributes:
        sha256: Of labels, splits and contents; who gave them, and when, does not count.
        counts: Cases by split and class.
        contents: SHA-256 of the cases by their path.
        seen: Split and group by content, of this version and all before it: what was frozen or
            learnt from once is known for ever.
    """

    task: str
    number: int
    folder: Path
    sha256: str
    parent: str
    counts: Mapping[str, Mapping[str, int]]
    contents: Mapping[str, str]
    seen: Mapping[str, tuple[str, str]]

    @property
    def manifest(self) -> Manifest:
        """Paths, labels, splits and groups; paths start at the version's folder."""
        return read_manifest(self.folder / MANIFEST)

    @property
    def facts(self) -> dict[str, Any]:
        """What a model card tells of the data it was trained on."""
        return {"task": self.task, "version": self.number, "sha256": self.sha256}

    @property
    def marked(self) -> dict[str, str]:
        """By content: the label, or a hash of a scan's marks; of all cases that are in use."""
        rows = {row.path: row.label for row in self.manifest.rows if row.split}
        marks = self._marks()
        return {self.contents[path]: marks.get(path, label) for path, label in rows.items()}

    def contents_of(self, split: str) -> set[str]:
        """Return the hashes of the cases of a split."""
        return {self.contents[row.path] for row in self.manifest.of(split)}

    def _marks(self) -> dict[str, str]:
        """Return a hash of the marks of each scan, by its path; nothing for images."""
        if not (self.folder / POINTS["is"]).is_file():
            return {}
        names = {case["name"]: path for path, case in read_cases(self).items()}
        digests = {path: hashlib.sha256() for path in names.values()}
        for standing in POINTS:
            for name, rows in read_points(self, standing).items():
                digests[names[name]].update(f"{standing}{rows}".encode())
        return {path: digest.hexdigest() for path, digest in digests.items()}


def write_dataset(
    home: Path, task: str, samples: Sequence[Sample], sources: Sequence[Source], *, now: datetime
) -> DatasetVersion:
    """Write the next version of a data set, all of it or nothing.

    Args:
        home: Folder of the versions of the task.
        samples: At least one.
        sources: Who said what.
        now: Written beside it.

    Returns:
        The version; the newest one there is when nothing differs from it.

    Raises:
        InputError: If the disk is full, or the folder cannot be written.
    """
    newest = newest_dataset(home)
    try:
        home.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=home))
        try:
            _write_files(draft, samples, sources)
            described = _describe(draft, task, samples, parent=newest, now=now)
            if newest is not None and newest.sha256 == described["sha256"]:
                return newest
            atomic.write_text(draft / DATASET, json.dumps(described, indent=1) + "\n")
            draft.chmod(0o755)
            folder = home / str(described["number"])
            draft.replace(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        msg = f"{home}: a data set version cannot be written ({error.strerror})"
        raise InputError(msg, hint="free some space; nothing was changed") from error
    return read_dataset(folder)


def newest_dataset(home: Path) -> DatasetVersion | None:
    """Return the newest version in a folder, None without one."""
    if not home.is_dir():
        return None
    numbers = [int(each.name) for each in home.iterdir() if each.name.isdecimal()]
    return read_dataset(home / str(max(numbers))) if numbers else None


def read_dataset(folder: Path) -> DatasetVersion:
    """Return a version after checking the hash of each of its files.

    Raises:
        InputError: If a file is missing or was altered; names it.
    """
    path = folder / DATASET
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        files, contents = described["files"], described["contents"]
        version = DatasetVersion(
            described["task"],
            described["number"],
            folder,
            described["sha256"],
            described["parent"],
            described["counts"],
            contents,
            {content: (split, group) for content, (split, group) in described["seen"].items()},
        )
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path}: not a data set version ({type(error).__name__})"
        raise InputError(msg, hint="restore the folder from a backup") from error
    for name, sha256 in files.items():
        found = _sha256(folder / name) if (folder / name).is_file() else "no file"
        if found != sha256:
            msg = f"{folder / name}: sha256 {found[:12]} is not {sha256[:12]} of {DATASET}"
            raise InputError(msg, hint="a version is never changed; restore it from a backup")
    return version


def read_cases(version: DatasetVersion) -> dict[str, dict[str, Any]]:
    """Return what was written of each case, by its path in the manifest."""
    cases: dict[str, dict[str, Any]] = json.loads(
        (version.folder / CASES).read_text(encoding="utf-8")
    )
    return cases


def read_points(version: DatasetVersion, standing: Standing) -> dict[str, list[list[float]]]:
    """Return rows x, y, z, diameter in mm by the name of a scan."""
    points: dict[str, list[list[float]]] = {}
    with (version.folder / POINTS[standing]).open(encoding="utf-8", newline="") as stream:
        for name, *numbers in list(csv.reader(stream))[1:]:
            points.setdefault(name, []).append([float(number) for number in numbers])
    return points


def _write_files(draft: Path, samples: Sequence[Sample], sources: Sequence[Source]) -> None:
    rows = [ManifestRow(each.path, each.label, each.split, each.group) for each in samples]
    write_manifest(draft / MANIFEST, rows)
    kind: Kind = "ct" if any(sample.scan for sample in samples) else "image"
    if kind == "ct":
        for standing, name in POINTS.items():
            atomic.write_text(draft / name, _points_text(samples, standing))
    else:
        for standing, name in BOXES.items():
            write_coco(draft / name, [_boxed(each, standing) for each in samples])
    names = tuple(Source.__dataclass_fields__)
    table = [[_cell(getattr(source, name)) for name in names] for source in sources]
    atomic.write_text(draft / PROVENANCE, _csv_text([names, *table]))
    cases = {each.path: {"case_id": each.case_id, **each.scan} for each in samples}
    atomic.write_text(draft / CASES, json.dumps(cases, indent=1) + "\n")


def _describe(
    draft: Path,
    task: str,
    samples: Sequence[Sample],
    *,
    parent: DatasetVersion | None,
    now: datetime,
) -> dict[str, Any]:
    files = {path.name: _sha256(path) for path in sorted(draft.iterdir())}
    contents = {sample.path: sample.content for sample in samples}
    labels = {name: sha for name, sha in files.items() if name not in NOT_LABELS}
    text = json.dumps([labels, contents], sort_keys=True)
    counts: dict[str, Counter[str]] = {}
    for sample in samples:
        counts.setdefault(sample.split or "left out", Counter())[sample.label] += 1
    seen = {} if parent is None else dict(parent.seen)
    seen |= {each.content: (each.split, each.group) for each in samples if each.split}
    return {
        "task": task,
        "number": 1 if parent is None else parent.number + 1,
        "created_at": now.isoformat(timespec="seconds"),
        "parent": "" if parent is None else parent.sha256,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "counts": {split: dict(sorted(own.items())) for split, own in sorted(counts.items())},
        "files": files,
        "contents": contents,
        "seen": seen,
    }


def _boxed(sample: Sample, standing: Standing) -> ImageLabels:
    places = [
        (mark.label, mark.geometry)
        for mark in sample.marks
        if mark.standing == standing and mark.geometry is not None
    ]
    boxes = [Box(label, *(float(place[name]) for name in BOX)) for label, place in places]
    return ImageLabels(
        ManifestRow(sample.path, sample.label, sample.split, sample.group), tuple(boxes)
    )


def _points_text(samples: Sequence[Sample], standing: Standing) -> str:
    rows: list[Sequence[object]] = [POINT_COLUMNS]
    for sample in samples:
        rows += [
            (sample.scan["name"], *(f"{mark.geometry[axis]:.4f}" for axis in SPHERE))
            for mark in sample.marks
            if mark.standing == standing and mark.geometry is not None
        ]
    return _csv_text(rows)


def _csv_text(rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:.4f}" if isinstance(value, float) else value


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
