"""Show the whole way on made and free samples: plant -> scan -> compare."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import medvit
from medvit import atomic
from medvit.data.broken import write_broken_cases
from medvit.data.xsdd_samples import write_samples
from medvit.errors import InputError
from medvit.workspace import Workspace
from pipelines import phantom, scan

Progress = Callable[[float, float, str], None]
Row = dict[str, str]

SCANS = 2
SEED = 7
MARK = "samples.json"
"""Written last: samples without it are made anew."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One thing that was planted, and what the scan made of it.

    Attributes:
        source: The case, as in `cases.csv`.
        planted: What is there, in words.
        found: What was found, in words.
        hit: Whether that is right.
    """

    kind: Literal["nodule", "defect", "broken"]
    source: str
    planted: str
    found: str
    hit: bool


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """What a demo answers.

    Attributes:
        false_marks: Nodule findings where no nodule was planted.
    """

    samples: Path
    planted: tuple[Planted, ...]
    false_marks: int
    scan: scan.ScanSummary

    def hits(self, kind: str) -> tuple[int, int]:
        """Return how many of a kind were found, and how many there are."""
        own = [each.hit for each in self.planted if each.kind == kind]
        return sum(own), len(own)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "samples": str(self.samples),
            "report": str(self.scan.out / "report.html"),
            "planted": [asdict(each) for each in self.planted],
            "false_marks": self.false_marks,
            "scan": self.scan.as_json(),
        }


def run(*, workspace: Workspace, progress: Progress | None = None) -> DemoSummary:
    """Make samples in the workspace, scan them, and compare what was found.

    Raises:
        InputError: If the workspace cannot be written.
        ModelError: If a default model is missing.
    """
    advance = progress or (lambda _done, _total, _what: None)
    workspace.prepare()
    samples = workspace.folder / "demo" / "samples"
    _make_samples(samples, advance)
    settings = scan.ScanSettings(sources=(samples,), out=workspace.folder / "demo" / "out")
    summary = scan.run(settings, workspace=workspace, progress=advance)
    cases, findings = _read(summary.out / "cases.csv"), _read(summary.out / "findings.csv")
    nodules, false_marks = _compare_nodules(_read(samples / "ct" / "annotations.csv"), findings)
    defects = _compare_defects(_read(samples / "surface" / "manifest.csv"), cases)
    broken = _compare_broken(json.loads((samples / MARK).read_text(encoding="utf-8")), cases)
    return DemoSummary(samples, (*nodules, *defects, *broken), false_marks, summary)


def _make_samples(folder: Path, advance: Progress) -> None:
    """Write the sample folders; those of the same version that are whole stay."""
    mark = folder / MARK
    try:
        if mark.is_file() and json.loads(mark.read_text(encoding="utf-8"))["for"] == _version():
            return
        shutil.rmtree(folder, ignore_errors=True)
        made = phantom.PhantomSettings(out=folder / "ct", count=SCANS, seed=SEED)
        phantom.run(made, progress=advance)
        write_samples(folder / "surface")
        broken = write_broken_cases(folder / "broken")
        reasons = {each.path.name: each.expected_reason for each in broken}
        atomic.write_text(mark, json.dumps({"for": _version(), "broken": reasons}))
    except OSError as error:
        msg = f"the samples in {folder} cannot be written: {error.strerror or error}"
        raise InputError(msg, hint="name a folder with 200 MB of space with --workspace") from error


def _version() -> str:
    return f"medvit {medvit.__version__}, {SCANS} scans, seed {SEED}"


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _compare_nodules(planted: Iterable[Row], findings: Iterable[Row]) -> tuple[list[Planted], int]:
    """Match by the rule of LUNA16: a mark counts inside the nodule's radius."""
    left = {row["finding_id"]: row for row in findings if row["source"].startswith("ct/")}
    sources = {row["series_uid"]: row["source"] for row in left.values()}
    rows = []
    for nodule in planted:
        near = [
            row
            for row in left.values()
            if row["series_uid"] == nodule["seriesuid"]
            and _distance_mm(nodule, row) < float(nodule["diameter_mm"]) / 2
        ]
        near.sort(key=lambda row: -float(row["probability"]))
        what = f"nodule of {float(nodule['diameter_mm']):.1f} mm"
        source = sources.get(nodule["seriesuid"], "ct")
        rows.append(Planted("nodule", source, what, _nodule_words(nodule, near), bool(near)))
        for row in near:
            del left[row["finding_id"]]
    return rows, len(left)


def _distance_mm(nodule: Row, finding: Row) -> float:
    there = [float(nodule[f"coord{axis}"]) for axis in "XYZ"]
    here = [float(finding[f"{axis}_mm"]) for axis in "xyz"]
    return math.dist(there, here)


def _nodule_words(nodule: Row, near: list[Row]) -> str:
    if not near:
        return "not found"
    best = near[0]
    away = f"{_distance_mm(nodule, best):.1f} mm off"
    return f"{float(best['diameter_mm']):.1f} mm, {float(best['probability']):.2f}, {away}"


def _compare_defects(manifest: Iterable[Row], cases: Iterable[Row]) -> list[Planted]:
    found = {row["source"]: row for row in cases}
    rows = []
    for image in manifest:
        source = f"surface/{image['path']}"
        row = found[source]
        words = row["reason"]
        if row["label"]:
            words = f"{row['label']}, {float(row['probability']):.2f}"
        hit = row["label"] == image["label"]
        rows.append(Planted("defect", source, image["label"], words, hit))
    return rows


def _compare_broken(mark: dict[str, Any], cases: Iterable[Row]) -> list[Planted]:
    """A fault counts as seen when it is named and refused or repaired; an oddity when read."""
    found: dict[str, list[Row]] = {}
    for row in cases:
        parts = row["source"].split("/")
        if parts[0] == "broken":
            found.setdefault(parts[1], []).append(row)
    rows = []
    for name, reason in mark["broken"].items():
        own = found.get(name, [])
        words = "; ".join(dict.fromkeys(f"{row['verdict']}: {row['reason']}" for row in own))
        read = bool(own) and all(row["verdict"] in ("accept", "repair") for row in own)
        named = any(reason in row["reason"].split(";") for row in own)
        accepted = any(row["verdict"] == "accept" for row in own)
        hit = read if reason == "ok" else named and not accepted
        what = "odd but sound" if reason == "ok" else reason
        rows.append(Planted("broken", f"broken/{name}", what, words or "no case", hit))
    return rows
