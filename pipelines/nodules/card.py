"""The model card of a nodule detector: its figures on validation phantoms, and its text."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.data.nodule_crops import HIGH_HU, LOW_HU
from medvit.metrics.calibration import calibrate_scans
from medvit.metrics.froc import Annotation, FrocResult, ScanMatches, froc_of, match_scans
from medvit.metrics.luna16_csv import read_marks
from medvit.metrics.operating_point import operating_thresholds, threshold_at_fp
from medvit.models.weights import Architecture
from pipelines.nodules.evaluation import Trial, measure, phantom_trial

if TYPE_CHECKING:
    from medvit.data.annotated import AnnotatedScan
    from medvit.learn.fit import FitResult
    from medvit.models.heads.centre import NoduleDetector
    from pipelines.nodules.config import NoduleConfig

OPERATING_FP_PER_SCAN = 4.0
"""A reader rejects a mark faster than they find a nodule."""

LOWEST_THRESHOLD = 0.1

_log = logging.getLogger(__name__)


def card_fields(
    config: NoduleConfig,
    detector: NoduleDetector,
    result: FitResult,
    *,
    held_out: tuple[Path, Sequence[AnnotatedScan]],
) -> dict[str, Any]:
    """Return the fields of `ModelCard`, measured on what was held out.

    Args:
        config: Of the training.
        detector: What came of it.
        result: How it ended.
        held_out: Folder of the run, where `predictions.csv` lies, and the annotated scans
            they are of. Where there are none, validation phantoms are searched.
    """
    first = config.data.phantom_seed + config.data.phantoms
    seeds = range(first, first + config.data.validation_phantoms)
    trials: list[Callable[[], Trial]] = [partial(phantom_trial, seed) for seed in seeds]
    metrics: dict[str, Any] = {"epochs": result.epochs, "cut_short": result.cut_short}
    matches: Sequence[ScanMatches] = ()
    if held_out[1]:
        scored, matches = held_out_froc(*held_out)
        metrics["held_out_scans"] = asdict(scored)
    elif trials:
        outcome = measure(detector, trials)
        matches = outcome.matches
        metrics["validation_phantoms"] = asdict(outcome.froc)
    settings = config.model_dump(mode="json")
    _hide_folders(settings["data"])
    return {
        "task": "nodule",
        "architecture": Architecture(
            builder="nodule_detector",
            arguments=config.model.architecture,
        ),
        "classes": ("nodule",),
        "preprocessing": {"spacing_mm": 1.0, "low_hu": LOW_HU, "high_hu": HIGH_HU},
        **_use_of_scores(matches),
        "training": {
            **settings,
            "data_sha256": hashlib.sha256(repr(settings["data"]).encode()).hexdigest(),
        },
        "metrics": metrics,
    }


def _use_of_scores(matches: Sequence[ScanMatches]) -> dict[str, Any]:
    """Return `thresholds` and, where there are marks enough, `calibration` of a card."""
    if not matches:
        return {"thresholds": {"probability": 0.5}}
    usual = threshold_at_fp(matches, OPERATING_FP_PER_SCAN)
    thresholds = {"probability": max(LOWEST_THRESHOLD, round(usual, 3))}
    fields: dict[str, Any] = {"thresholds": thresholds | operating_thresholds(matches)}
    try:
        fields["calibration"] = calibrate_scans(matches).for_card()
    except ValueError as error:
        _log.warning("scores stay as they are: %s", error)
    return fields


def held_out_froc(
    folder: Path, scans: Sequence[AnnotatedScan]
) -> tuple[FrocResult, list[ScanMatches]]:
    """Score the predictions of a run on the scans that it held out."""
    from pipelines.nodules.folds import PREDICTIONS

    nodules, ignored = (
        [Annotation(scan.name, *row) for scan in scans for row in getattr(scan, kind).tolist()]
        for kind in ("nodules", "ignored")
    )
    names = [scan.name for scan in scans]
    marks = read_marks(folder / PREDICTIONS)
    matches = match_scans(marks, nodules, excluded=ignored, series=names)
    return froc_of(matches), list(matches)


def _hide_folders(data: dict[str, Any]) -> None:
    """Keep only whether a folder was given: where data lie is nobody's business."""
    for settings in (data, data["annotated"] or {}):
        for name in ("root", "annotations", "excluded", "patients", "lock"):
            if settings.get(name) is not None:
                settings[name] = "given"


def card_text(card: dict[str, Any]) -> str:
    """Return Markdown with what the model saw, how it measures, and what it is not for.

    Args:
        card: Fields of `ModelCard`; `{reference}` is left for `register` to fill in.
    """
    data, metrics = card["training"]["data"], card["metrics"]
    scans = ", ".join(scan["source"] for scan in data["scans"]) if data["root"] else "none"
    lines = [
        "# {reference}",
        "",
        "Marks lung nodules of 3 to 30 mm in chest CT: centre, diameter and a score.",
        "Research software, not a medical device. Made nodules are not patients: no figure",
        "here says how it does in a clinic.",
        "",
        "## Training",
        "",
        f"- {data['phantoms']} made chests from seed {data['phantom_seed']}; real scans: {scans}.",
        f"- Started from {', '.join(card['parents']) or 'random weights'}; "
        f"{metrics['epochs']} epochs of {card['training']['train']['crops_per_epoch']} crops, "
        "nodules drawn anew in each.",
        f"- Marks are reported from probability {card['thresholds']['probability']}: "
        f"{OPERATING_FP_PER_SCAN:g} false marks a scan on what was held out.",
    ]
    if data["annotated"] is not None:
        lines.append(f"- Annotated scans, format {data['annotated']['format']}.")
    if metrics["cut_short"]:
        lines.append("- **Cut short** by train.max_minutes: it may do worse than usual.")
    for name, title in (
        ("validation_phantoms", "Validation phantoms"),
        ("held_out_scans", "Held-out scans"),
    ):
        if name in metrics:
            lines += ["", *_figures(metrics[name], title)]
    return "\n".join([*lines, ""])


def _figures(froc: dict[str, Any], title: str) -> list[str]:
    rates = " | ".join(f"{rate:g}" for rate in froc["fp_per_scan"])
    values = " | ".join(f"{value:.3f}" for value in froc["sensitivity"])
    return [
        f"## {title} ({froc['n_scans']} scans, {froc['n_annotations']} nodules)",
        "",
        f"| false marks a scan | {rates} | CPM |",
        "|---" * (len(froc["fp_per_scan"]) + 2) + "|",
        f"| sensitivity | {values} | {froc['cpm']:.3f} |",
    ]
