"""One image: pixels -> model -> findings with their boxes, and a picture."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from medvit.findings.finding import Finding, finding_id
from medvit.inference.box_tiles import find_boxes
from medvit.inference.boxes import LEAST_SCORE, ScoredBoxes, above
from medvit.inference.defect_tiles import judge_tiles, needs_tiles
from medvit.inference.defects import judge_image
from medvit.io.case import Case
from medvit.io.readers import read_image
from medvit.io.verdict import Triage
from medvit.models.heads.boxes import BoxDetector
from medvit.report.box_thumbnail import box_thumbnail
from medvit.report.thumbnails import defect_thumbnail
from medvit.tiles.budget import BudgetError
from medvit.tiles.footprint import MIB
from pipelines.scanning.budget import IMAGE_BYTES, image_mb
from pipelines.scanning.detectors import Detector
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.outcome import Outcome
from pipelines.scanning.workbench import Workbench

Box = tuple[int, int, int, int]
Pixels = NDArray[np.float32]

BOXES_BYTES = 32
"""Bytes for each pixel of an image that boxes are found on, its decoding included, measured."""


def examine_image(case: Case, judged: Triage, detector: Detector, bench: Workbench) -> Outcome:
    """Return what an image shows.

    Raises:
        ReadError: If its pixels cannot be read.
        ModelError: If the model does not fit it.
        BudgetError: If it does not fit into the memory there is.
    """
    each = BOXES_BYTES if isinstance(detector.module, BoxDetector) else IMAGE_BYTES
    need_mb = image_mb(judged.shape or (), bytes_per_pixel=each)
    with bench.room.taken(need_mb, most_mb=bench.limits.max_bytes / MIB) as expected_mb:
        if expected_mb * MIB > bench.limits.max_bytes:
            raise BudgetError(bench.limits.max_bytes, int(expected_mb * MIB))
        with blamed_on(case.source):
            pixels = read_image(case, scratch=bench.scratch).pixels
        return _judged(case, judged, detector, pixels=pixels, predicted_mb=expected_mb)


def _judged(
    case: Case, judged: Triage, detector: Detector, *, pixels: Pixels, predicted_mb: float
) -> Outcome:
    """Return what an image shows, as the kind of its model asks for."""
    if isinstance(detector.module, BoxDetector):
        return _with_boxes(case, judged, detector, pixels=pixels, predicted_mb=predicted_mb)
    if needs_tiles(detector.card, height=pixels.shape[0], width=pixels.shape[1]):
        return _in_tiles(case, judged, detector, pixels=pixels, predicted_mb=predicted_mb)
    verdict = judge_image(pixels, detector.module, detector.card, flats=detector.flats)
    ood = _ood(detector, verdict.features)
    findings: tuple[Finding, ...] = ()
    if verdict.box is not None:
        finding = _finding(case, verdict.label, verdict.probability, verdict.box, detector)
        findings = (replace(finding, ood=ood),)
    picture = defect_thumbnail(pixels, verdict.heat, verdict.box)
    return Outcome(
        judged.verdict,
        judged.reasons,
        label=verdict.label,
        probability=verdict.probability,
        findings=findings,
        pictures={case.case_id: picture},
        ood=ood,
        features=tuple(verdict.features.tolist()),
        predicted_peak_mb=predicted_mb,
    )


def _ood(detector: Detector, features: NDArray[np.float32]) -> float | None:
    if detector.looks is None:
        return None
    return float(detector.looks.ood(features[None].astype(np.float64))[0])


def _in_tiles(
    case: Case, judged: Triage, detector: Detector, *, pixels: Pixels, predicted_mb: float
) -> Outcome:
    """Return a finding for each defect that tiles of a large image speak for."""
    verdict = judge_tiles(pixels, detector.module, detector.card, flats=detector.flats)
    findings = tuple(
        replace(
            _finding(case, each.label, each.probability, each.box, detector),
            ood=_ood(detector, each.features),
        )
        for each in verdict.defects
    )
    return Outcome(
        judged.verdict,
        judged.reasons,
        label=verdict.label,
        probability=verdict.probability,
        findings=findings,
        pictures={case.case_id: box_thumbnail(pixels, [each.box for each in verdict.defects])},
        ood=_ood(detector, verdict.features),
        features=tuple(verdict.features.tolist()),
        predicted_peak_mb=predicted_mb,
    )


def _with_boxes(
    case: Case, judged: Triage, detector: Detector, *, pixels: Pixels, predicted_mb: float
) -> Outcome:
    """Return a finding for each box; the image has the label of the most probable one."""
    found = _found(pixels, detector)
    findings = []
    for edges, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
        box = _whole_pixels(edges, height=pixels.shape[0], width=pixels.shape[1])
        probability = detector.scale.apply(float(score))
        findings.append(_finding(case, detector.card.classes[label], probability, box, detector))
    best = max(findings, key=lambda each: each.probability, default=None)
    boxes = [(f.x_min or 0, f.y_min or 0, f.x_max or 0, f.y_max or 0) for f in findings]
    return Outcome(
        judged.verdict,
        judged.reasons,
        label=best.label if best else "",
        probability=best.probability if best else None,
        findings=tuple(findings),
        pictures={case.case_id: box_thumbnail(pixels, boxes)},
        predicted_peak_mb=predicted_mb,
    )


def _found(pixels: Pixels, detector: Detector) -> ScoredBoxes:
    """Return the boxes that reach the threshold of their class."""
    net, card = cast("BoxDetector", detector.module), detector.card
    least = min(card.thresholds.values(), default=LEAST_SCORE)
    return above(find_boxes(pixels, net, card, least=least), card.classes, card.thresholds)


def _whole_pixels(edges: NDArray[np.float64], *, height: int, width: int) -> Box:
    """Return the smallest box of whole pixels around a box, inside the image."""
    x0, y0, x1, y1 = edges.tolist()
    low = (max(0, math.floor(x0)), max(0, math.floor(y0)))
    return (*low, min(width, math.ceil(x1)), min(height, math.ceil(y1)))


def _finding(case: Case, label: str, probability: float, box: Box, detector: Detector) -> Finding:
    model = detector.version.reference
    x_min, y_min, x_max, y_max = box
    return Finding(
        case_id=case.case_id,
        kind="image",
        source=case.source,
        series_uid="",
        finding_id=finding_id(case.case_id, model, label, *box),
        label=label,
        probability=probability,
        x_min=x_min,
        y_min=y_min,
        x_max=x_max,
        y_max=y_max,
        model=model,
    )
