"""Findings of a CT series as a DICOM segmentation: a sphere for each, as there is no outline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

import medvit
from medvit.findings.finding import Finding
from medvit.geometry import index_to_lps, spacing_of
from medvit.report.dicom_evidence import Evidence, encode, stable_uid
from medvit.report.dicom_sr import in_order, instance_uid, place_of, radius_of, tracking_uid
from medvit.report.dicom_subject import content_moment
from medvit.report.dicom_words import (
    ABNORMAL,
    AI_FAMILY,
    LUNG,
    MAKER,
    NODULE,
    SERIES_NUMBERS,
    Algorithm,
)
from medvit.report.spheres import Ball, Bits, ball

CONTENT = "Research use only, not a medical device; spheres, no outlines"
SEGMENT = (
    "Not an outline: a sphere of the estimated diameter around the estimated centre of the "
    "finding. Probability {probability:.4f}. Research use only, not a medical device."
)


class Frame(NamedTuple):
    """One frame of the segmentation: a slice of a sphere. Segments count from 1."""

    segment: int
    z: int
    ball: Ball


def build_seg(evidence: Evidence, findings: Sequence[Finding], algorithm: Algorithm) -> bytes:
    """Return the findings of a series as a DICOM file; the same arguments give the same bytes.

    Frames are slices of the volume: those of the source where the volume lies on its
    grid, else with places of their own in the same frame of reference. Spheres may
    overlap.

    Raises:
        ValueError: If there is no finding, or one has no place or diameter.
    """
    if not findings:
        msg = f"{evidence.case_id}: a segmentation needs at least one finding, got none"
        raise ValueError(msg)
    ordered = in_order(findings)
    balls = [
        ball(
            evidence.affine_lps,
            evidence.shape,
            centre_lps_mm=place_of(each),
            radius_mm=radius_of(each),
        )
        for each in ordered
    ]
    frames = [
        Frame(number, z, each) for number, each in enumerate(balls, start=1) for z in each.planes()
    ]
    document = _without_frames(evidence, ordered, algorithm)
    _set_frames(document, evidence, frames)
    _settle_dimensions(document)
    _name_classes(document, evidence)
    overlap = any(first.meets(second) for first, second in combinations(balls, 2))
    document.SegmentsOverlap = "YES" if overlap else "NO"
    return encode(document, evidence)


def _without_frames(
    evidence: Evidence, ordered: Sequence[Finding], algorithm: Algorithm
) -> Segmentation:
    """Return all but the frames: one empty slice stands where they go.

    highdicom takes frames as one array, which must not overlap or has an axis of
    segments: 100 findings in a chest would take 10 GB.
    """
    date, time = content_moment(evidence.subject)
    kept = "named" if evidence.keeps_identity else "pseudonymous"
    return Segmentation(
        source_images=_images(evidence),
        pixel_array=np.zeros((1, *evidence.shape[1:]), dtype=np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[
            _segment(number, each, algorithm) for number, each in enumerate(ordered, start=1)
        ],
        series_instance_uid=stable_uid("seg series", evidence.case_id, algorithm.reference, kept),
        series_number=SERIES_NUMBERS["seg"],
        sop_instance_uid=instance_uid("seg", evidence, ordered, algorithm),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=algorithm.name,
        software_versions=medvit.__version__,
        device_serial_number=algorithm.reference,
        content_label="NODULES",
        content_description=CONTENT,
        plane_positions=[_position(evidence, 0)],
        plane_orientation=_orientation(evidence),
        pixel_measures=_measures(evidence),
        omit_empty_frames=False,
        series_description=f"{MAKER} findings, research use only",
        content_date=date,
        content_time=time,
    )


def _segment(number: int, finding: Finding, algorithm: Algorithm) -> SegmentDescription:
    description = SegmentDescription(
        segment_number=number,
        segment_label=f"Nodule {number}, {2 * radius_of(finding):.1f} mm",
        segmented_property_category=CodedConcept.from_code(ABNORMAL),
        segmented_property_type=CodedConcept.from_code(NODULE),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=algorithm.name, family=AI_FAMILY, version=algorithm.version
        ),
        tracking_uid=tracking_uid(finding.finding_id),
        tracking_id=finding.finding_id,
        anatomic_regions=[CodedConcept.from_code(LUNG)],
    )
    description.SegmentDescription = SEGMENT.format(probability=finding.probability)
    return description


def _images(evidence: Evidence) -> list[Dataset]:
    """Return the source images with the places that highdicom asks of each."""
    images = evidence.instances()
    corners = {each.sop_uid: each for each in evidence.slices}
    _, rows, columns = evidence.shape
    first = evidence.slices[0]
    for image in images:
        # Of a multi-frame class, highdicom would want every frame; see _name_classes.
        image.SOPClassUID = CTImageStorage
        image.Rows, image.Columns = rows, columns
        image.ImagePositionPatient = [float(v) for v in corners[image.SOPInstanceUID].corner_lps_mm]
        image.ImageOrientationPatient = [*map(float, (*first.along_row, *first.along_column))]
        image.PixelSpacing = list(first.spacing_mm)
        image.SliceThickness = spacing_of(evidence.affine_lps)[0]
        image.LossyImageCompression = "01" if evidence.is_lossy else "00"
    return images


def _corner(evidence: Evidence, z: int) -> npt.NDArray[np.float64]:
    if evidence.is_on_grid:
        return evidence.slices[z].corner_lps_mm
    return index_to_lps(evidence.affine_lps, (z, 0, 0))


def _position(evidence: Evidence, z: int) -> PlanePositionSequence:
    corner = [round(float(value), 6) for value in _corner(evidence, z)]
    return PlanePositionSequence("PATIENT", image_position=corner)


def _orientation(evidence: Evidence) -> PlaneOrientationSequence:
    if evidence.is_on_grid:
        first = evidence.slices[0]
        directions = (*first.along_row, *first.along_column)
    else:
        _, y_mm, x_mm = spacing_of(evidence.affine_lps)
        affine = evidence.affine_lps
        directions = (*(affine[:3, 2] / x_mm), *(affine[:3, 1] / y_mm))
    return PlaneOrientationSequence("PATIENT", [round(float(each), 9) for each in directions])


def _measures(evidence: Evidence) -> PixelMeasuresSequence:
    _, y_mm, x_mm = spacing_of(evidence.affine_lps)
    across = np.cross(evidence.affine_lps[:3, 2] / x_mm, evidence.affine_lps[:3, 1] / y_mm)
    z_mm = round(abs(float(evidence.affine_lps[:3, 0] @ across)), 6)
    spacing = evidence.slices[0].spacing_mm if evidence.is_on_grid else (y_mm, x_mm)
    return PixelMeasuresSequence(
        pixel_spacing=[round(each, 6) for each in spacing],
        slice_thickness=z_mm,
        spacing_between_slices=z_mm,
    )


def _set_frames(document: Dataset, evidence: Evidence, frames: Sequence[Frame]) -> None:
    ranks = {z: rank for rank, z in enumerate(sorted({each.z for each in frames}), start=1)}
    shared = document.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:  # as highdicom does for a single segment
        del shared.SegmentIdentificationSequence
    # Of the one slice so far highdicom derived a spacing of 1 mm.
    shared.PixelMeasuresSequence = _measures(evidence)
    shared.PlaneOrientationSequence = _orientation(evidence)
    document.PerFrameFunctionalGroupsSequence = [
        _groups(evidence, each, rank=ranks[each.z]) for each in frames
    ]
    document.NumberOfFrames = len(frames)
    _, rows, columns = evidence.shape
    document.PixelData = pack(each.ball.plane(each.z, (rows, columns)) for each in frames)
    document["PixelData"].VR = "OB"


def _settle_dimensions(document: Dataset) -> None:
    """Give the organisation of dimensions a UID that is the same on every run."""
    uid = stable_uid("dimensions", document.SOPInstanceUID)
    for each in (*document.DimensionOrganizationSequence, *document.DimensionIndexSequence):
        each.DimensionOrganizationUID = uid


def _name_classes(document: Dataset, evidence: Evidence) -> None:
    """Give the source images their own SOP classes back."""
    classes = {each.sop_uid: each.sop_class for each in evidence.slices}
    series = document.ReferencedSeriesSequence
    lists = [document.SourceImageSequence, *(each.ReferencedInstanceSequence for each in series)]
    for reference in chain.from_iterable(lists):
        reference.ReferencedSOPClassUID = classes[str(reference.ReferencedSOPInstanceUID)]


def _groups(evidence: Evidence, frame: Frame, *, rank: int) -> Dataset:
    source = evidence.slices[frame.z]
    image = Dataset()
    image.ReferencedSOPClassUID = source.sop_class
    image.ReferencedSOPInstanceUID = source.sop_uid
    if source.frame_number is not None:
        image.ReferencedFrameNumber = source.frame_number
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    image.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(purpose)]
    image.SpatialLocationsPreserved = "YES" if evidence.is_on_grid else "NO"
    derivation = Dataset()
    segmentation = codes.cid7203.SegmentationImageDerivation
    derivation.DerivationCodeSequence = [CodedConcept.from_code(segmentation)]
    derivation.SourceImageSequence = [image]
    content, identity, groups = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [frame.segment, rank]
    identity.ReferencedSegmentNumber = frame.segment
    groups.DerivationImageSequence = [derivation]
    groups.FrameContentSequence = [content]
    groups.PlanePositionSequence = _position(evidence, frame.z)
    groups.SegmentIdentificationSequence = [identity]
    return groups


def pack(frames: Iterable[Bits]) -> bytes:
    """Return the bits of frames one after the other, without gaps between them (PS3.5 8.1.1).

    Examples:
        >>> pack([np.array([True, False, True]), np.array([True, True, True])]).hex()
        '3d00'
    """
    parts: list[bytes] = []
    rest = np.zeros(0, dtype=bool)
    for frame in frames:
        bits = np.concatenate([rest, frame.ravel()])
        whole = len(bits) // 8 * 8
        parts.append(np.packbits(bits[:whole], bitorder="little").tobytes())
        rest = bits[whole:]
    parts.append(np.packbits(rest, bitorder="little").tobytes())
    packed = b"".join(parts)
    return packed + bytes(len(packed) % 2)
