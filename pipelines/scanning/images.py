"""One image: pixels -> model -> a finding with its box, and a picture."""

from __future__ import annotations

from medvit.findings.finding import Finding, finding_id
from medvit.inference.defects import judge_image
from medvit.io.case import Case
from medvit.io.readers import read_image
from medvit.io.scratch import Scratch
from medvit.io.verdict import Triage
from medvit.report.thumbnails import defect_thumbnail
from pipelines.scanning.budget import predict_peak_mb
from pipelines.scanning.detectors import Detector
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.memory import current_rss_mb
from pipelines.scanning.outcome import Outcome

Box = tuple[int, int, int, int]


def examine_image(case: Case, judged: Triage, detector: Detector, scratch: Scratch) -> Outcome:
    """Return what an image shows.

    Raises:
        ReadError: If its pixels cannot be read.
        ModelError: If the model does not fit it.
    """
    predicted_mb = predict_peak_mb(judged, held_mb=current_rss_mb())
    with blamed_on(case.source):
        pixels = read_image(case, scratch=scratch).pixels
    verdict = judge_image(pixels, detector.module, detector.card)
    findings: tuple[Finding, ...] = ()
    if verdict.box is not None:
        finding = _finding(case, verdict.label, verdict.probability, verdict.box, detector)
        findings = (finding,)
    picture = defect_thumbnail(pixels, verdict.heat, verdict.box)
    return Outcome(
        judged.verdict,
        judged.reasons,
        label=verdict.label,
        probability=verdict.probability,
        findings=findings,
        pictures={case.case_id: picture},
        predicted_peak_mb=predicted_mb,
    )


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
