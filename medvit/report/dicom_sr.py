"""Findings of a CT series as a DICOM structured report: Comprehensive 3D SR, TID 1500."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import highdicom as hd
import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    Scoord3DContentItem,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

import medvit
from medvit.findings.finding import Finding
from medvit.geometry import Triple
from medvit.report.dicom_evidence import Evidence, encode, stable_uid
from medvit.report.dicom_subject import content_moment
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

ROUND_PIXEL = 1e-4
"""Relative difference of row and column spacing up to which a circle stays a circle."""

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
    contents = report[0].ContentSequence
    contents.insert(len(contents) - 1, _comment(_summary(len(ordered), algorithm)))
    date, time = content_moment(evidence.subject)
    kept = "named" if evidence.keeps_identity else "pseudonymous"
    document = Comprehensive3DSR(
        evidence=evidence.instances(),
        content=report[0],
        series_instance_uid=stable_uid("sr series", evidence.case_id, algorithm.reference, kept),
        series_number=SERIES_NUMBERS["sr"],
        sop_instance_uid=instance_uid("sr", evidence, ordered, algorithm),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=algorithm.name,
        software_versions=medvit.__version__,
        series_description=f"{MAKER} findings, research use only",
        content_date=date,
        content_time=time,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return encode(document, evidence)


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


def tracking_uid(finding: Finding) -> str:
    """Return the UID by which SR and SEG name the same finding."""
    return stable_uid("finding", finding.finding_id)


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
        tracking_identifier=TrackingIdentifier(tracking_uid(finding), finding.finding_id),
        referenced_region=_circle(evidence, place, radius_of(finding)),
        finding_category=CodedConcept.from_code(ABNORMAL),
        finding_type=CodedConcept.from_code(NODULE),
        finding_sites=[FindingSite(LUNG)],
        algorithm_id=_identify(algorithm),
        measurements=[
            Measurement(DIAMETER, round(2 * radius_of(finding), 3), codes.UCUM.Millimeter),
            Measurement(CERTAINTY, round(100 * finding.probability, 4), codes.UCUM.Percent),
        ],
    )
    centre = Scoord3DContentItem(
        name=codes.DCM.Center,
        graphic_type="POINT",
        graphic_data=np.array([place]),
        frame_of_reference_uid=evidence.frame_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    group[0].ContentSequence.append(centre)
    return group


def _circle(evidence: Evidence, place: Triple, radius_mm: float) -> ImageRegion:
    """Return the outline of a sphere on the slice nearest to its centre, at its full width."""
    source = evidence.nearest(place)
    centre = source.pixel_at(np.array(place))
    row_mm, column_mm = source.spacing_mm
    right = centre + np.array([radius_mm / column_mm, 0.0])
    below = centre + np.array([0.0, radius_mm / row_mm])
    is_round = abs(row_mm - column_mm) <= ROUND_PIXEL * row_mm
    across, along = np.array([2 * centre - right, right]), np.array([2 * centre - below, below])
    ellipse = np.concatenate([along, across] if row_mm < column_mm else [across, along])
    frames = None if source.frame_number is None else [source.frame_number]
    return ImageRegion(
        graphic_type="CIRCLE" if is_round else "ELLIPSE",
        graphic_data=np.array([centre, right]) if is_round else ellipse,
        source_image=SourceImageForRegion(source.sop_class, source.sop_uid, frames),
    )


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
    device = DeviceObserverIdentifyingAttributes(
        uid=hd.UID(stable_uid("device", algorithm.reference, medvit.__version__)),
        name=MAKER,
        manufacturer_name=f"{MAKER}, research software",
        model_name=algorithm.name,
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _comment(text: str) -> TextContentItem:
    return TextContentItem(
        name=codes.DCM.Comment, value=text, relationship_type=RelationshipTypeValues.CONTAINS
    )


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
