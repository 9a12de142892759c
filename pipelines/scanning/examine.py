"""One case: triage -> pixels -> model -> findings and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from medvit.findings.finding import Finding, finding_id
from medvit.inference.defects import judge_image
from medvit.inference.nodules import Nodule, NoduleSettings, detect_nodules
from medvit.io.case import Case, Reason, Verdict
from medvit.io.readers import open_volume, read_image
from medvit.io.scratch import UNTIL_EXIT, Scratch
from medvit.io.triage import triage
from medvit.io.verdict import Triage
from medvit.models.weights import ModelCard
from medvit.report.thumbnails import defect_thumbnail, nodule_thumbnail
from medvit.volume.volume import Hu, Volume
from pipelines.scanning.budget import predict_peak_mb
from pipelines.scanning.detectors import Detector
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.memory import current_rss_mb

MOST_PICTURES = 24
"""Pictures a CT case gets at most; the most probable findings come first."""

Fraction = Callable[[float], None]
"""Called with the share of a case that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one case gave, before time and memory are added."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    label: str = ""
    probability: float | None = None
    findings: tuple[Finding, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    predicted_peak_mb: float = 0.0


def examine(
    case: Case, detector: Detector, *, progress: Fraction, scratch: Scratch = UNTIL_EXIT
) -> Outcome:
    """Return what a case holds; a case that triage refuses is not read.

    Raises:
        ReadError: If the pixels cannot be read.
        ModelError: If the model does not fit the case, or gives no finite numbers.
    """
    with blamed_on(case.source):
        judged = triage(case, scratch=scratch)
    if judged.verdict == "refuse":
        return Outcome("refuse", judged.reasons)
    predicted_mb = predict_peak_mb(judged, held_mb=current_rss_mb())
    if case.kind == "ct":
        outcome = _examine_ct(case, judged, detector, progress, scratch)
    else:
        outcome = _examine_image(case, judged, detector, scratch)
    return replace(outcome, predicted_peak_mb=predicted_mb)


def _examine_ct(
    case: Case, judged: Triage, detector: Detector, progress: Fraction, scratch: Scratch
) -> Outcome:
    with blamed_on(case.source):
        volume = _blaming(open_volume(case, scratch=scratch), case.source)
    settings = _search_settings(detector.card)
    found = detect_nodules(volume, detector.module, settings=settings, progress=progress)
    findings = tuple(_nodule_finding(case, nodule, detector) for nodule in found.nodules)
    shown = sorted(findings, key=lambda finding: -finding.probability)[:MOST_PICTURES]
    reasons = judged.reasons
    if found.reason:
        sound = tuple(each for each in reasons if each.code != "ok")
        reasons = (*sound, Reason(found.reason, f"{case.source}: {found.message}"))
    return Outcome(
        judged.verdict,
        reasons,
        findings=findings,
        pictures={each.finding_id: nodule_thumbnail(volume, each) for each in shown},
    )


def _search_settings(card: ModelCard) -> NoduleSettings:
    """Return how the model wants to be used; the usual where its card does not say."""
    usual = NoduleSettings()
    return NoduleSettings(
        spacing_mm=float(card.preprocessing.get("spacing_mm", usual.spacing_mm)),
        min_probability=card.thresholds.get("probability", usual.min_probability),
    )


def _examine_image(case: Case, judged: Triage, detector: Detector, scratch: Scratch) -> Outcome:
    with blamed_on(case.source):
        pixels = read_image(case, scratch=scratch).pixels
    verdict = judge_image(pixels, detector.module, detector.card)
    findings: tuple[Finding, ...] = ()
    if verdict.box is not None:
        findings = (
            _defect_finding(case, verdict.label, verdict.probability, verdict.box, detector),
        )
    picture = defect_thumbnail(pixels, verdict.heat, verdict.box)
    return Outcome(
        judged.verdict,
        judged.reasons,
        label=verdict.label,
        probability=verdict.probability,
        findings=findings,
        pictures={case.case_id: picture},
    )


def _nodule_finding(case: Case, nodule: Nodule, detector: Detector) -> Finding:
    x_mm, y_mm, z_mm = (float(value) for value in nodule.centre_lps_mm)
    index = tuple(round(float(value)) for value in nodule.index_zyx)
    model = detector.version.reference
    return Finding(
        case_id=case.case_id,
        kind="ct",
        source=case.source,
        series_uid=case.series_uid,
        finding_id=finding_id(case.case_id, model, *index),
        label="nodule",
        probability=float(nodule.probability),
        x_mm=x_mm,
        y_mm=y_mm,
        z_mm=z_mm,
        diameter_mm=float(nodule.diameter_mm),
        index_z=index[0],
        index_y=index[1],
        index_x=index[2],
        model=model,
    )


def _defect_finding(
    case: Case,
    label: str,
    probability: float,
    box: tuple[int, int, int, int],
    detector: Detector,
) -> Finding:
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


def _blaming(volume: Volume, source: str) -> Volume:
    """Return a volume whose lazy reads name the file's faults as such."""

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        with blamed_on(source):
            return volume.read_block(z, y, x)

    return replace(volume, read_block=read_block)
