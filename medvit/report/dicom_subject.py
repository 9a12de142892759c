"""Whose SR and SEG files are: a pseudonym, or patient and study as the images name them."""

from __future__ import annotations

import io
import re
from datetime import date, time
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.valuerep import DA, TM

from medvit.errors import ReadError
from medvit.io.dicom.values import PARSE_ERRORS
from medvit.io.os_errors import unreadable

HEAD_BYTES = 1 << 20
"""Part of a file in which patient and study are looked for; tags are in rising order."""

MOST_DEFLATED_BYTES = 1 << 22
"""A deflated file is inflated whole; a slice of CT takes a tenth of this."""

DEFLATED = b"1.2.840.10008.1.2.1.99"
LAST_TAG = 0x00204000

UTF_8 = "ISO_IR 192"
NO_DATE, NO_TIME = "19000101", "000000"
"""Content date and time where the study's own are left out: the same on every run."""

METHOD = "medvit: patient and study left out, UIDs kept"

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
"""What every object must have, if only empty (PS3.3 C.7.1.1 and C.7.2.1)."""

_MORE = (
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "PatientBirthTime",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
_TAGS = [tag for tag in map(tag_for_keyword, (*_TYPE_2, *_MORE, "SpecificCharacterSet")) if tag]
_FORMS = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9 _]{1,16}"),
    "DS": re.compile(r"(?=.{1,16}$)[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "LO": re.compile(r"[^\\]{1,64}"),
    "PN": re.compile(r"[^\\]{1,194}"),
    "SH": re.compile(r"[^\\]{1,16}"),
}
"""What values look like (PS3.5, Table 6.2-1), of one value each."""


def pseudonym(case_id: str) -> Dataset:
    """Return a subject that says nothing of the patient: the case id stands for it."""
    subject = _empty()
    subject.PatientName = f"{case_id}^"
    subject.PatientID = case_id
    subject.PatientIdentityRemoved = "YES"
    subject.DeidentificationMethod = METHOD
    return subject


def subject_of(path: Path) -> Dataset:
    """Return patient and study as a file names them; values that break their type are left out.

    Raises:
        ReadError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if DEFLATED in head[:1024]:
                head += file.read(MOST_DEFLATED_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    subject = _empty()
    try:
        found = read_partial(
            io.BytesIO(head), stop_when=_is_past, force=True, specific_tags=list(_TAGS)
        )
        for keyword in (*_TYPE_2, *_MORE):
            _copy(found, subject, keyword)
    except PARSE_ERRORS as error:
        msg = f"{path.name}: patient and study cannot be read ({type(error).__name__})"
        hint = "leave --keep-identity out, or export the file again"
        raise ReadError(msg, reason="not_dicom", hint=hint) from error
    return subject


def content_moment(subject: Dataset) -> tuple[str, str]:
    """Return the content date and time that a subject allows: those of its study, or none."""
    if subject.StudyDate:
        return str(subject.StudyDate), str(subject.StudyTime or NO_TIME)
    return NO_DATE, NO_TIME


def _is_past(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) > LAST_TAG


def _empty() -> Dataset:
    subject = Dataset()
    subject.SpecificCharacterSet = UTF_8
    for keyword in _TYPE_2:
        setattr(subject, keyword, "")
    return subject


def _copy(found: Dataset, subject: Dataset, keyword: str) -> None:
    if keyword not in found:
        return
    try:
        element = found[keyword]
        text = str(element.value or "").strip(" \0")
        if _is_sound(text, element.VR) and (keyword != "PatientSex" or text in ("M", "F", "O")):
            setattr(subject, keyword, text)
    except PARSE_ERRORS:
        return  # a broken value is no identity worth keeping


def _is_sound(text: str, representation: str) -> bool:
    if not text:
        return False
    if representation == "DA":
        return isinstance(DA(text), date)
    if representation == "TM":
        return isinstance(TM(text), time)
    form = _FORMS.get(representation)
    return form is not None and form.fullmatch(text) is not None
