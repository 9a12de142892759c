"""What SR and SEG files say of the images behind them: references, places, and whose they are."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from medvit.errors import ReadError
from medvit.geometry import Affine, Triple
from medvit.io.case import Case
from medvit.io.dicom.header import SliceHeader, read_headers
from medvit.io.readers import open_volume
from medvit.io.scratch import UNTIL_EXIT, Scratch
from medvit.report.dicom_subject import pseudonym, subject_of
from medvit.volume.volume import Volume

NAMESPACE = uuid.UUID("6e1a3c52-8f0d-5b0e-9a4e-0d6f6d656476")
"""Names hashed in this namespace become UIDs (RFC 9562, version 5)."""

NO_REFERENCE = "no_reference"
SAME_PLACE_MM = 0.01
"""A slice of the volume and a slice of the file that are nearer than this are one."""

_UID = re.compile(r"[0-9.]{1,64}")

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SourceSlice:
    """One slice that findings refer to.

    Attributes:
        frame_number: From 1 as DICOM counts; None for a file of one slice.
        corner_lps_mm: Centre of the first pixel.
        along_row: Direction of increasing column, a unit vector.
        along_column: Direction of increasing row, a unit vector.
        spacing_mm: Distance of rows, then of columns.
    """

    sop_class: str
    sop_uid: str
    frame_number: int | None
    corner_lps_mm: Points
    along_row: Points
    along_column: Points
    spacing_mm: tuple[float, float]

    def distance_mm(self, point: Points) -> float:
        """Return how far a point lies from the plane of the slice."""
        normal = np.cross(self.along_row, self.along_column)
        return abs(float((point - self.corner_lps_mm) @ normal))

    def pixel_at(self, point: Points) -> Points:
        """Return the (column, row) of a point; the first pixel's centre is (0.5, 0.5).

        DICOM counts from the corner of the first pixel (PS3.3 C.18.6.1.1).
        """
        offset = point - self.corner_lps_mm
        row_mm, column_mm = self.spacing_mm
        column = offset @ self.along_row / column_mm
        row = offset @ self.along_column / row_mm
        return np.array([column + 0.5, row + 0.5])


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The series behind the findings of a case.

    Attributes:
        frame_uid: Frame of reference; made up from the series UID where the files have none.
        slices: One for each slice of the volume, the nearest one where it was resampled.
        shape: Of the volume, `(z, y, x)`.
        affine_lps: Of the volume.
        is_on_grid: Whether every slice of the volume is a slice of a file as it is.
        is_lossy: Whether the images were compressed with loss.
        subject: Patient and study: as in the files, or a pseudonym.
        keeps_identity: Whether `subject` is as in the files.
    """

    case_id: str
    study_uid: str
    series_uid: str
    frame_uid: str
    slices: tuple[SourceSlice, ...]
    shape: tuple[int, int, int]
    affine_lps: Affine
    is_on_grid: bool
    is_lossy: bool
    subject: Dataset
    keeps_identity: bool

    def nearest(self, point_lps_mm: Triple) -> SourceSlice:
        """Return the slice whose plane is nearest to a point."""
        point = np.array(point_lps_mm)
        return min(self.slices, key=lambda each: each.distance_mm(point))

    def instances(self) -> list[Dataset]:
        """Return each image once, as highdicom wants evidence: who, where, of whom."""
        first = {each.sop_uid: each for each in reversed(self.slices)}
        return [self._instance(first[each]) for each in dict.fromkeys(self._sop_uids())]

    def _sop_uids(self) -> list[str]:
        return [each.sop_uid for each in self.slices]

    def _instance(self, source: SourceSlice) -> Dataset:
        image = Dataset()
        image.update(self.subject)
        image.StudyInstanceUID = self.study_uid
        image.SeriesInstanceUID = self.series_uid
        image.FrameOfReferenceUID = self.frame_uid
        image.SOPClassUID = source.sop_class
        image.SOPInstanceUID = source.sop_uid
        image.Modality = "CT"
        return image


def stable_uid(*parts: str) -> str:
    """Return a UID that depends on the parts alone (PS3.5 B.2).

    Examples:
        >>> stable_uid("a", "b") == stable_uid("a", "b") != stable_uid("ab")
        True
    """
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(0).join(parts)).int}"


def gather_evidence(
    case: Case, *, keep_identity: bool = False, scratch: Scratch = UNTIL_EXIT
) -> Evidence:
    """Return what the findings of a case can refer to; reads headers only.

    Raises:
        ReadError: `no_reference` when the case is no DICOM, or its files have no UIDs to
            refer to; else as `open_volume`.
    """
    volume = open_volume(case, scratch=scratch)
    if not volume.origins:
        msg = f"{case.source}: not DICOM, so there is no series that SR or SEG could refer to"
        raise ReadError(msg, reason=NO_REFERENCE, hint="use findings.csv, or scan the DICOM series")
    headers = [read_headers(each.path)[each.frame] for each in volume.origins]
    first = headers[0]
    for name, uid in _uids_of(headers):
        if not _UID.fullmatch(uid):
            what = f"{name} {uid or 'missing'}"
            msg = f"{case.source}: {what} is no UID that SR or SEG could refer to"
            raise ReadError(msg, reason=NO_REFERENCE, hint="export the series again")
    slices = tuple(_slice_of(case, header) for header in headers)
    return Evidence(
        case_id=case.case_id,
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        frame_uid=_frame_uid(first),
        slices=slices,
        shape=volume.shape,
        affine_lps=volume.affine_lps,
        is_on_grid=_is_on_grid(volume, slices, headers),
        is_lossy=first.is_lossy,
        subject=subject_of(first.path) if keep_identity else pseudonym(case.case_id),
        keeps_identity=keep_identity,
    )


def _uids_of(headers: Sequence[SliceHeader]) -> list[tuple[str, str]]:
    pairs = [
        pair
        for each in headers
        for pair in (
            ("StudyInstanceUID", each.study_uid),
            ("SeriesInstanceUID", each.series_uid),
            ("SOPClassUID", each.sop_class),
            ("SOPInstanceUID", each.sop_uid),
        )
    ]
    return list(dict.fromkeys(pairs))


def _frame_uid(header: SliceHeader) -> str:
    uid = header.placement.frame_uid
    return uid if _UID.fullmatch(uid) else stable_uid("frame of reference", header.series_uid)


def _slice_of(case: Case, header: SliceHeader) -> SourceSlice:
    place = header.placement
    if place.position_mm is None or place.orientation is None or place.pixel_spacing_mm is None:
        msg = f"{case.source}: {header.path.name} does not say where it lies in the patient"
        raise ReadError(msg, reason="no_position", hint="export the series again")
    return SourceSlice(
        sop_class=header.sop_class,
        sop_uid=header.sop_uid,
        frame_number=header.frame + 1 if header.layout.frames > 1 else None,
        corner_lps_mm=np.array(place.position_mm),
        along_row=_unit(place.orientation[:3]),
        along_column=_unit(place.orientation[3:]),
        spacing_mm=place.pixel_spacing_mm,
    )


def _unit(direction: Sequence[float]) -> Points:
    vector = np.array(direction)
    unit: Points = vector / np.linalg.norm(vector)
    return unit


def _is_on_grid(
    volume: Volume, slices: Sequence[SourceSlice], headers: Sequence[SliceHeader]
) -> bool:
    """Whether three corners of every slice lie where its file says, and no slice comes twice."""
    _, rows, columns = volume.shape
    if len({(each.sop_uid, each.frame_number) for each in slices}) < len(slices):
        return False
    if any((each.layout.rows, each.layout.columns) != (rows, columns) for each in headers):
        return False
    for z, each in enumerate(slices):
        row_mm, column_mm = each.spacing_mm
        own = each.corner_lps_mm + np.array(
            [
                np.zeros(3),
                each.along_row * column_mm * (columns - 1),
                each.along_column * row_mm * (rows - 1),
            ]
        )
        index = np.array([[z, 0, 0, 1], [z, 0, columns - 1, 1], [z, rows - 1, 0, 1]])
        if np.abs((index @ volume.affine_lps.T)[:, :3] - own).max() > SAME_PLACE_MM:
            return False
    return True


def encode(dataset: Dataset, evidence: Evidence) -> bytes:
    """Return a data set as the bytes of a DICOM file, without the time of its making."""
    if not evidence.keeps_identity:
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
    for part in (dataset, *dataset.get("ContributingEquipmentSequence", ())):
        for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime"):
            if keyword in part:
                delattr(part, keyword)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
