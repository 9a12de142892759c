"""Findings of a CT series as a DICOM structured report: Comprehensive 3D SR, TID 1500."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

import medvit
from medvit.findings.finding import Finding
from medvit.geometry import Triple
from medvit.report.dicom_evidence import Evidence, stable_uid
from medvit.report.dicom_report import (
    Heading,
    circle_around,
    device_observer,
    encode_report,
    point_at,
)
from medvit.report.dicom_words import (
    ABNORMAL,
    AI_FAMILY,
    CERTAINTY,
    DIAMETER,
    LUNG,
    MAKER,
    NODULE,
    NOT_A_DEVICE,
    SERIES_NUMBERS,
    Algorithm,
)

Group = PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


def build_sr(evidence: Evidence, findings: Sequence[Finding], algorithm: Algorithm) -> bytes:
    """Return the report of a series as a DICOM file; the same arguments give the same bytes.

    Each finding is a measurement group (TID 1410): a circle on the nearest slice, the
    centre in space, diameter and certainty. Without findings one group (TID 1501) says
    what was looked for, and that nothing was found, or nothing searched.

    Raises:
        ValueError: If a finding has no place or diameter.
    """
    ordered = in_order(findings)
    groups: list[Group] = [_group(evidence, each, algorithm) for each in ordered]
    report = MeasurementReport(
        observation_context=_observer(algorithm),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups or [_nothing_found(evidence, algorithm)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    kept = "named" if evidence.keeps_identity else "pseudonymous"
    heading = Heading(
        series_uid=stable_uid("sr series", evidence.case_id, algorithm.reference, kept),
        instance_uid=instance_uid("sr", evidence, ordered, algorithm),
        series_number=SERIES_NUMBERS["sr"],
        model_name=algorithm.name,
        description=f"{MAKER} findings, research use only",
        comment=_summary(len(ordered), algorithm),
    )
    return encode_report(report, evidence, heading)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, the most probable first; equal ones by id."""
    return sorted(findings, key=lambda each: (-each.probability, each.finding_id))


def instance_uid(
    kind: str, evidence: Evidence, findings: Sequence[Finding], algorithm: Algorithm
) -> str:
    """Return a SOPInstanceUID that is another one whenever the content is."""
    kept = evidence.subject.to_json()
    places = [repr((*place_of(each), each.diameter_mm, each.probability)) for each in findings]
    ids = [each.finding_id for each in findings]
    model = (*map(str, astuple(algorithm)), algorithm.version)
    return stable_uid(kind, evidence.case_id, evidence.series_uid, *model, kept, *ids, *places)


def tracking_uid(finding_id: str) -> str:
    """Return the UID by which SR and SEG name the same finding."""
    return stable_uid("finding", finding_id)


def place_of(finding: Finding) -> Triple:
    """Return where a finding is, LPS mm.

    Raises:
        ValueError: If it has no place, as findings in images.
    """
    x_mm, y_mm, z_mm = finding.x_mm, finding.y_mm, finding.z_mm
    if x_mm is None or y_mm is None or z_mm is None:
        msg = f"finding {finding.finding_id} has no place in space: x, y, z {x_mm}, {y_mm}, {z_mm}"
        raise ValueError(msg)
    return x_mm, y_mm, z_mm


def radius_of(finding: Finding) -> float:
    """Return half the diameter in mm.

    Raises:
        ValueError: If the diameter is missing or not positive.
    """
    if finding.diameter_mm is None or finding.diameter_mm <= 0:
        msg = f"finding {finding.finding_id} needs a positive diameter, got {finding.diameter_mm}"
        raise ValueError(msg)
    return finding.diameter_mm / 2


def _group(
    evidence: Evidence, finding: Finding, algorithm: Algorithm
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    place = place_of(finding)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            tracking_uid(finding.finding_id), finding.finding_id
        ),
        referenced_region=circle_around(evidence, place, radius_of(finding)),
        finding_category=CodedConcept.from_code(ABNORMAL),
        finding_type=CodedConcept.from_code(NODULE),
        finding_sites=[FindingSite(LUNG)],
        algorithm_id=_identify(algorithm),
        measurements=[
            Measurement(DIAMETER, round(2 * radius_of(finding), 3), codes.UCUM.Millimeter),
            Measurement(CERTAINTY, round(100 * finding.probability, 4), codes.UCUM.Percent),
        ],
    )
    group[0].ContentSequence.append(point_at(evidence, place))
    return group


def _nothing_found(
    evidence: Evidence, algorithm: Algorithm
) -> MeasurementsAndQualitativeEvaluations:
    succeeded = codes.DCM.AllAlgorithmsSucceededWithoutFindings
    failed = codes.DCM.NoAlgorithmsSucceededWithoutFindings
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            stable_uid("no finding", evidence.case_id, algorithm.reference),
            f"{evidence.case_id} no finding",
        ),
        finding_sites=[FindingSite(LUNG)],
        algorithm_id=_identify(algorithm),
        qualitative_evaluations=[
            QualitativeEvaluation(
                codes.DCM.CADProcessingAndFindingsSummary,
                succeeded if algorithm.has_searched else failed,
            )
        ],
    )


def _identify(algorithm: Algorithm) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=algorithm.name,
        version=algorithm.version,
        parameters=[algorithm.parameters],
        family=AI_FAMILY,
    )


def _observer(algorithm: Algorithm) -> ObservationContext:
    uid = stable_uid("device", algorithm.reference, medvit.__version__)
    return ObservationContext(observer_device_context=device_observer(uid, algorithm.name))


def _summary(count: int, algorithm: Algorithm) -> str:
    by = f"{algorithm.reference}, {algorithm.parameters}"
    if not algorithm.has_searched:
        return f"{NOT_A_DEVICE} No lungs were found, so nothing was searched by {by}."
    found = f"{NOT_A_DEVICE} Looked for lung nodules with {by}: {count or 'none'} found."
    if not count:
        return found
    return (
        f"{found} A circle has the estimated diameter and marks the slice nearest to the "
        "centre; it is no outline. Certainty is the model's probability."
    )
