"""What a run of made scans has finished: a log that a run which was cut off goes on from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.data.dicom_writer import write_annotations
from medvit.data.phantom import PlantedDistractor, PlantedNodule
from medvit.errors import InputError

LOG = "phantom.jsonl"
"""First the settings, then one line a finished scan."""

ANNOTATIONS, NODULES, DISTRACTORS = "annotations.csv", "nodules.csv", "distractors.csv"
DISTRACTOR_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "kind")


@dataclass(frozen=True, slots=True)
class ScanTruth:
    """What is in one made scan."""

    series_uid: str
    nodules: tuple[PlantedNodule, ...]
    distractors: tuple[PlantedDistractor, ...]


def read_log(out: Path, settings: dict[str, Any]) -> list[ScanTruth]:
    """Return what a run with these settings has finished in a folder; nothing if it is empty.

    A last line that was cut off counts as not written.

    Raises:
        InputError: If the folder holds anything else, or cannot be made or read.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = [path.name for path in out.iterdir()]
        lines = (out / LOG).read_text(encoding="utf-8").split("\n")[:-1] if LOG in held else []
    except OSError as error:
        msg = f"{out}: cannot be made or read ({error.strerror})"
        raise InputError(msg, hint="name a folder that can be written") from error
    if not lines:
        if held and held != [LOG]:
            msg = f"{out}: practice data need an empty folder, this one holds {len(held)} entries"
            raise InputError(msg, hint="name a new folder")
        return []
    _require_same(out, json.loads(lines[0]), settings)
    return [_truth(json.loads(line)) for line in lines[1:]]


def begin_log(out: Path, settings: dict[str, Any], truths: Sequence[ScanTruth]) -> None:
    """Write the log anew, with the scans that are kept."""
    lines = [json.dumps(settings), *(json.dumps(asdict(truth)) for truth in truths)]
    atomic.write_text(out / LOG, "".join(f"{line}\n" for line in lines))


def add_to_log(out: Path, truth: ScanTruth) -> None:
    """Note that a scan is finished."""
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(truth)) + "\n")


def write_tables(out: Path, truths: Sequence[ScanTruth]) -> None:
    """Write LUNA16's annotations, the same with kind and site, and what is no nodule."""
    rows = [(truth.series_uid, nodule) for truth in truths for nodule in truth.nodules]
    write_annotations(out / ANNOTATIONS, rows)
    write_annotations(out / NODULES, rows, with_kind=True)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(DISTRACTOR_COLUMNS)
    for truth in truths:
        for each in truth.distractors:
            place = [f"{value:.3f}" for value in each.centre_lps_mm]
            writer.writerow([truth.series_uid, *place, each.kind])
    atomic.write_text(out / DISTRACTORS, text.getvalue())


def _require_same(out: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    for key, value in asked.items():
        if found.get(key) != value:
            msg = f"{out}: holds practice data made with {key}={found.get(key)}, not {value}"
            raise InputError(msg, hint="name a new folder, or go on with the same settings")


def _truth(line: dict[str, Any]) -> ScanTruth:
    nodules = (PlantedNodule(**_placed(each)) for each in line["nodules"])
    distractors = (PlantedDistractor(**_placed(each)) for each in line["distractors"])
    return ScanTruth(line["series_uid"], tuple(nodules), tuple(distractors))


def _placed(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "centre_lps_mm": tuple(row["centre_lps_mm"])}
