"""Nodules that readers agree on as a DICOM structured report: Comprehensive 3D SR, TID 1500."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

import medvit
from medvit.findings.agreed import AgreedNodule
from medvit.report.dicom_evidence import Evidence, stable_uid
from medvit.report.dicom_report import (
    Heading,
    circle_around,
    comment,
    device_observer,
    encode_report,
    point_at,
)
from medvit.report.dicom_sr import tracking_uid
from medvit.report.dicom_words import (
    ABNORMAL,
    AI_FAMILY,
    DIAMETER,
    LUNG,
    MAKER,
    NODULE,
    NOT_A_DEVICE,
    SERIES_NUMBERS,
)

READERS = "Readers^"
"""Stands for all of them: readers are counted, never named."""

MODEL_NAME = f"{MAKER} review"


def build_agreed_sr(evidence: Evidence, nodules: Sequence[AgreedNodule]) -> bytes:
    """Return what readers agree on in a series as a DICOM file; the same gives the same bytes.

    Observers are persons, who confirmed each finding, and the program, which counted them.
    Each nodule is a measurement group (TID 1410): a circle on the nearest slice, the centre
    in space, the diameter, how many readers judged and confirmed it, and the model, where
    its centre and diameter stand.

    Args:
        evidence: The series.
        nodules: At least one.

    Raises:
        ValueError: If there is no nodule.
    """
    if not nodules:
        msg = f"case {evidence.case_id}: a report of agreed nodules needs one at least, got none"
        raise ValueError(msg)
    report = MeasurementReport(
        observation_context=_observers(),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[_group(evidence, each) for each in nodules],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return encode_report(report, evidence, _heading(evidence, nodules))


def _heading(evidence: Evidence, nodules: Sequence[AgreedNodule]) -> Heading:
    subject = evidence.subject.to_json()
    said = [repr(astuple(each)) for each in nodules]
    images = (evidence.case_id, evidence.series_uid)
    kept = "named" if evidence.keeps_identity else "pseudonymous"
    return Heading(
        series_uid=stable_uid("agreed series", evidence.case_id, kept),
        instance_uid=stable_uid("agreed", *images, medvit.__version__, subject, *said),
        series_number=SERIES_NUMBERS["agreed"],
        model_name=MODEL_NAME,
        description=f"{MAKER} readers, research use only",
        comment=(
            f"{NOT_A_DEVICE} Lung nodules that readers agree on: {len(nodules)}. Persons "
            "confirmed each of them; what they rejected or left open is not in here. A circle "
            "has the diameter and marks the slice nearest to the centre; it is no outline."
        ),
    )


def _observers() -> ObservationContext:
    uid = stable_uid("device", MODEL_NAME, medvit.__version__)
    return ObservationContext(
        observer_person_context=ObserverContext(
            observer_type=codes.DCM.Person,
            observer_identifying_attributes=PersonObserverIdentifyingAttributes(name=READERS),
        ),
        observer_device_context=device_observer(uid, MODEL_NAME),
    )


def _group(
    evidence: Evidence, nodule: AgreedNodule
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    place, diameter_mm = nodule.centre_lps_mm, nodule.diameter_mm
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid(nodule.finding_id), nodule.finding_id),
        referenced_region=circle_around(evidence, place, diameter_mm / 2),
        finding_category=CodedConcept.from_code(ABNORMAL),
        finding_type=CodedConcept.from_code(NODULE),
        finding_sites=[FindingSite(LUNG)],
        algorithm_id=_identify(nodule.measured_by) if nodule.measured_by else None,
        measurements=[Measurement(DIAMETER, round(diameter_mm, 3), codes.UCUM.Millimeter)],
    )
    group[0].ContentSequence.extend([point_at(evidence, place), comment(_told(nodule))])
    return group


def _identify(reference: str) -> AlgorithmIdentification:
    name, _, version = reference.partition("@")
    return AlgorithmIdentification(
        name=f"{MAKER} {name}", version=version or "unknown", family=AI_FAMILY
    )


def _told(nodule: AgreedNodule) -> str:
    counts = f"Readers who judged it: {nodule.asked}; who confirmed it: {nodule.confirmed_by}."
    if nodule.measured_by:
        return f"{counts} Centre and diameter are those of {nodule.measured_by}."
    return f"{counts} Centre and diameter are those of readers."
