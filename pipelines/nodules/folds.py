"""Train and search each fold in turn; the marks of all are scored together, as LUNA16 asks."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit import atomic
from medvit.workspace import Workspace
from pipelines.evaluating.froc import FrocSettings, run_froc
from pipelines.nodules.annotated_config import AnnotatedSettings
from pipelines.nodules.annotated_data import annotated_scans
from pipelines.nodules.config import NoduleConfig
from pipelines.nodules.evaluation import LEAST_PROBABILITY
from pipelines.run_record import write_run_record
from pipelines.scanning.memory import peak_rss_mb
from pipelines.training.run import open_run

if TYPE_CHECKING:
    from torch import nn

    from medvit.data.annotated import AnnotatedScan
    from medvit.io.scratch import Scratch

PREDICTIONS, ANNOTATIONS = "predictions.csv", "annotations.csv"
EXCLUDED, SERIES = "annotations_excluded.csv", "seriesuids.csv"
MARK_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "probability")
FINDING_COLUMNS = (*MARK_COLUMNS[:4], "diameter_mm")
FIGURES = ("fp_per_scan", "sensitivity", "cpm", "cpm_interval", "n_scans", "n_annotations")

TrainOne = Callable[[NoduleConfig], dict[str, Any]]

_log = logging.getLogger(__name__)


def run_folds(config: NoduleConfig, workspace: Workspace, *, train_one: TrainOne) -> dict[str, Any]:
    """Train a detector for each fold, and score all held-out scans together.

    Every scan is searched by the one detector that never saw its patient. Folds that are
    done are not done again when the run was interrupted. In the run folder lie the four
    tables that `medvit evaluate froc` takes.

    Args:
        train_one: Trains and registers one fold, and leaves `predictions.csv` of the scans
            that it holds out in its run folder; returns `{"run", "model", ...}`.

    Returns:
        `{"run", "model", "models", "metrics", "report"}`; `model` is that of the first fold.

    Raises:
        InputError: If the data break a rule, before anything is trained.
    """
    from medvit.io.scratch import Scratch

    settings = _annotated(config)
    data = annotated_scans(settings, scratch=Scratch.below(workspace.cache))
    with open_run(workspace, "folds", config) as folder:
        answers = [
            _train_unless_done(folder / f"fold-{fold}.json", of_fold(config, fold), train_one)
            for fold in settings.held_out
        ]
        write_truth(folder, data.scans)
        atomic.write_text(
            folder / PREDICTIONS, _joined(Path(answer["run"]) / PREDICTIONS for answer in answers)
        )
        scored = _score(folder, workspace)
        answer = {
            "run": str(folder),
            "model": answers[0]["model"],
            "models": [each["model"] for each in answers],
            "metrics": {name: scored[name] for name in FIGURES},
            "report": scored["report"],
        }
        counts = {
            "folds": len(answers),
            "scans": len(data.scans),
            "nodules": sum(len(scan.nodules) for scan in data.scans),
        }
        record = {"command": "train", "state": "done", "settings": config.model_dump(mode="json")}
        memory = {"predicted_peak_mb": None, "measured_peak_mb": round(peak_rss_mb(), 1)}
        last = {"folds": answers, "froc": scored["run"], "failures": []}
        write_run_record(folder, {**record, **answer, "counts": counts, **memory, **last})
        return answer


def _score(folder: Path, workspace: Workspace) -> dict[str, Any]:
    """Score the tables of a folder by the rules of LUNA16."""
    settings = FrocSettings(
        predictions=folder / PREDICTIONS,
        annotations=folder / ANNOTATIONS,
        excluded=folder / EXCLUDED,
        series=folder / SERIES,
    )
    return run_froc(settings, workspace=workspace)


def of_fold(config: NoduleConfig, fold: int) -> NoduleConfig:
    """Return the config of one fold; its model is named for it."""
    annotated = _annotated(config).model_copy(update={"fold": fold})
    data = config.data.model_copy(update={"annotated": annotated})
    model = config.model.model_copy(update={"name": f"{config.model.name}-fold{fold}"})
    return config.model_copy(update={"data": data, "model": model})


def search_held_out(
    detector: nn.Module, scans: Sequence[AnnotatedScan], *, folder: Path, scratch: Scratch
) -> None:
    """Search scans, and write `predictions.csv` as LUNA16 takes it, whole or not at all.

    Args:
        detector: In evaluation mode, where it is to run.
        scans: Of patients that it never saw.
        folder: Of the run.
        scratch: Where the pyramids of the scans are kept.
    """
    rows: list[Sequence[object]] = []
    for number, scan in enumerate(scans, start=1):
        rows += _marks_on(detector, scan, scratch)
        if number % 10 == 0:
            _log.info("%d of %d held-out scans are searched", number, len(scans))
    atomic.write_text(folder / PREDICTIONS, _table(MARK_COLUMNS, rows))


def write_truth(folder: Path, scans: Sequence[AnnotatedScan]) -> None:
    """Write the tables of nodules, of ignored findings and of scans beside `predictions.csv`."""
    for name, kind in ((ANNOTATIONS, "nodules"), (EXCLUDED, "ignored")):
        rows = [(scan.name, *row) for scan in scans for row in getattr(scan, kind).tolist()]
        atomic.write_text(folder / name, _table(FINDING_COLUMNS, rows))
    atomic.write_text(folder / SERIES, _table(("seriesuid",), [(scan.name,) for scan in scans]))


def _annotated(config: NoduleConfig) -> AnnotatedSettings:
    settings = config.data.annotated_settings
    if settings is None:
        msg = "folds are of annotated scans: data.annotated is not set"
        raise ValueError(msg)
    return settings


def _train_unless_done(file: Path, config: NoduleConfig, train_one: TrainOne) -> dict[str, Any]:
    """Return what training a fold gave; it is kept in a file."""
    if not file.is_file():
        answer = train_one(config)
        atomic.write_text(file, json.dumps(answer, indent=1, default=str))
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _marks_on(
    detector: nn.Module, scan: AnnotatedScan, scratch: Scratch
) -> Iterator[Sequence[object]]:
    from medvit.inference.nodules import NoduleSettings, detect_nodules
    from medvit.io.pyramids import open_pyramid

    found = detect_nodules(
        open_pyramid(scan.case, scratch=scratch),
        detector,
        settings=NoduleSettings(min_probability=LEAST_PROBABILITY),
    )
    for nodule in found.nodules:
        place = (f"{value:.4f}" for value in nodule.centre_lps_mm)
        yield (scan.name, *place, f"{nodule.probability:.9g}")


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def _joined(tables: Iterable[Path]) -> str:
    """Return tables with the same heading as one."""
    texts = [table.read_text(encoding="utf-8").splitlines() for table in tables]
    return "\n".join([texts[0][0], *(line for text in texts for line in text[1:]), ""])
