"""What every DICOM SR of medvit is made of: marks on the images, who observed, the document."""

from __future__ import annotations

from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.sr import (
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    ImageRegion,
    MeasurementReport,
    ObserverContext,
    RelationshipTypeValues,
    Scoord3DContentItem,
    SourceImageForRegion,
    TextContentItem,
)
from pydicom.sr.codedict import codes

import medvit
from medvit.geometry import Triple
from medvit.report.dicom_evidence import Evidence, encode
from medvit.report.dicom_subject import content_moment
from medvit.report.dicom_words import MAKER

ROUND_PIXEL = 1e-4
"""Relative difference of row and column spacing up to which a circle stays a circle."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What tells one report from another.

    Attributes:
        series_uid: SeriesInstanceUID of the report, not of the images.
        instance_uid: SOPInstanceUID; another one whenever the content is.
        model_name: Manufacturer's model name of what wrote it.
        description: Of the series.
        comment: Text before the measurements; says what the report is not for.
    """

    series_uid: str
    instance_uid: str
    series_number: int
    model_name: str
    description: str
    comment: str


def encode_report(report: MeasurementReport, evidence: Evidence, heading: Heading) -> bytes:
    """Return a measurement report (TID 1500) as a DICOM file: complete, not final, unverified."""
    contents = report[0].ContentSequence
    contents.insert(len(contents) - 1, comment(heading.comment))
    date, time = content_moment(evidence.subject)
    document = Comprehensive3DSR(
        evidence=evidence.instances(),
        content=report[0],
        series_instance_uid=heading.series_uid,
        series_number=heading.series_number,
        sop_instance_uid=heading.instance_uid,
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=heading.model_name,
        software_versions=medvit.__version__,
        series_description=heading.description,
        content_date=date,
        content_time=time,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return encode(document, evidence)


def circle_around(evidence: Evidence, place: Triple, radius_mm: float) -> ImageRegion:
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


def point_at(evidence: Evidence, place: Triple) -> Scoord3DContentItem:
    """Return a centre, LPS mm, as a point in the frame of reference of the images."""
    return Scoord3DContentItem(
        name=codes.DCM.Center,
        graphic_type="POINT",
        graphic_data=np.array([place]),
        frame_of_reference_uid=evidence.frame_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )


def comment(text: str) -> TextContentItem:
    """Return a sentence for people (DCM 121106)."""
    return TextContentItem(
        name=codes.DCM.Comment, value=text, relationship_type=RelationshipTypeValues.CONTAINS
    )


def device_observer(uid: str, model_name: str) -> ObserverContext:
    """Return the program as an observer (TID 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=hd.UID(uid),
        name=MAKER,
        manufacturer_name=f"{MAKER}, research software",
        model_name=model_name,
    )
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
