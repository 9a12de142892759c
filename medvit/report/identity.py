"""Which values in DICOM files tell who a patient is, and in what forms they could turn up.

The attributes are those of the Basic Application Level Confidentiality Profile (PS3.15
Table E.1-1) that name people, their numbers, addresses and birth dates, the institution
and its devices. Dates of the study, UIDs, ages and descriptions are not among them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import cast

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from medvit.io.dicom.values import PARSE_ERRORS
from medvit.report.dicom_subject import NO_DATE
from medvit.resources import PACKAGE

KEYWORDS = (
    "AccessionNumber",
    "AdmissionID",
    "ConsultingPhysicianName",
    "ContentCreatorName",
    "DeviceSerialNumber",
    "FillerOrderNumberImagingServiceRequest",
    "InstitutionAddress",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "IssuerOfPatientID",
    "MedicalRecordLocator",
    "MilitaryRank",
    "NameOfPhysiciansReadingStudy",
    "OperatorIdentificationSequence",
    "OperatorsName",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientAddress",
    "PatientBirthDate",
    "PatientBirthName",
    "PatientComments",
    "PatientID",
    "PatientMotherBirthName",
    "PatientName",
    "PatientTelephoneNumbers",
    "PerformedLocation",
    "PerformingPhysicianName",
    "PersonAddress",
    "PersonName",
    "PersonTelephoneNumbers",
    "PhysiciansOfRecord",
    "PlacerOrderNumberImagingServiceRequest",
    "ReferringPhysicianAddress",
    "ReferringPhysicianName",
    "ReferringPhysicianTelephoneNumbers",
    "RequestedProcedureID",
    "RequestingPhysician",
    "ResponsibleOrganization",
    "ResponsiblePerson",
    "ScheduledPerformingPhysicianName",
    "ServiceEpisodeID",
    "StationName",
    "StudyID",
    "VerifyingObserverName",
    "VerifyingOrganization",
)
_TAGS = {tag: keyword for keyword in KEYWORDS if (tag := tag_for_keyword(keyword)) is not None}
LAST_TAG = 0x00720000
"""People are named before hanging protocols, storage and pixels."""

SHORTEST = 3
"""Letters that a value must have to be looked for; fewer stand everywhere."""

SHORTEST_NUMBER = 5
"""Digits that a number must have; shorter ones are counts and millimetres."""

SHORTEST_PART = 4
"""Letters up to which a value counts only where it is a word of its own."""

LONGEST = 48
"""Characters of a value that are looked for; more would not make it surer."""

PLACEHOLDERS = frozenset(
    re.findall(
        r"\w+",
        "anon anonym anonymised anonymized anonymous default dummy empty example hospital "
        "name none null patient person phantom private pseudonym radiology redacted "
        "removed sample test unknown unnamed volunteer ",
    )
)
"""What stands where a name should, and says nothing."""

OWN_FILE = Path(__file__).name
WORDS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Needle:
    """A text to look for.

    Attributes:
        text: In lower case.
        is_word: Whether it counts only where no letter or digit stands beside it.
    """

    text: str
    is_word: bool


@dataclass(slots=True)
class Identity:
    """What identifies patients in a set of files.

    Attributes:
        needles: What to look for, each with the keywords whose values it comes from.
        values: How many different values there are to look for.
        skipped: Values too short or too common to be looked for, by keyword.
    """

    needles: dict[Needle, set[str]] = field(default_factory=dict)
    values: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


def read_values(content: bytes) -> set[tuple[str, str]]:
    """Return keyword and value of all that identifies a patient in the start of a DICOM file.

    Names in sequences and private elements count as well.

    Raises:
        Exception: One of `PARSE_ERRORS`, if the content is not DICOM or is cut.
    """
    dataset = read_partial(io.BytesIO(content), stop_when=_is_past, force=True)
    return set(_values_of(dataset))


def identity_of(values: Iterable[tuple[str, str]]) -> Identity:
    """Return what to look for, given keywords and values.

    Examples:
        >>> found = identity_of([("PatientName", "Doe^Jane"), ("StudyID", "1")])
        >>> sorted(needle.text for needle in found.needles)[:3]
        ['doe', 'doe jane', 'doe, jane']
        >>> found.values, found.skipped
        (1, {'StudyID': 1})
    """
    identity = Identity()
    for keyword, value in sorted(set(values)):
        texts = {form for form in forms_of(keyword, value) if is_telling(form)}
        for text in texts:
            identity.needles.setdefault(_needle(text), set()).add(keyword)
        if texts:
            identity.values += 1
        else:
            identity.skipped[keyword] = identity.skipped.get(keyword, 0) + 1
    return identity


def forms_of(keyword: str, value: str) -> set[str]:
    """Return the forms in which a value could be written, in lower case.

    Examples:
        >>> sorted(forms_of("PatientBirthDate", "19701231"))
        ['12/31/1970', '1970-12-31', '19701231', '31.12.1970', '31/12/1970']
        >>> sorted(forms_of("PatientID", " AB 12"))
        ['ab 12']
    """
    text = " ".join(value.lower().split())
    if keyword == "PatientBirthDate" and re.fullmatch(r"\d{8}", text):
        y, m, d = text[:4], text[4:6], text[6:]
        forms = {text, f"{y}-{m}-{d}", f"{d}.{m}.{y}", f"{m}/{d}/{y}", f"{d}/{m}/{y}"}
        return forms if text != NO_DATE else set()
    forms = {text}
    for group in text.split("="):
        parts = [part for part in group.replace("^", " ").split() if part]
        if "^" in group:
            forms |= {group, *parts, *_joined(parts[:3])}
        elif "=" in text:
            forms.add(group)
    return {form.strip(" ^") for form in forms} - {""}


def is_telling(text: str) -> bool:
    """Return whether a text is long and rare enough to be looked for.

    Examples:
        >>> [is_telling(text) for text in ("doe", "xu", "12345", "1234", "patient", "probability")]
        [True, False, True, False, False, False]
    """
    letters = sum(map(str.isalpha, text))
    digits = sum(map(str.isdigit, text))
    if letters == 0:
        return digits >= SHORTEST_NUMBER and len(set(text)) > 1
    words = WORDS.findall(text)
    if digits == 0 and all(word in PLACEHOLDERS for word in words):
        return False
    if text in own_words():
        return False
    return letters + digits >= (SHORTEST if text.isascii() else SHORTEST - 1)


@lru_cache(maxsize=1)
def own_words() -> frozenset[str]:
    """Return the words of the program's own texts: every report holds some of them.

    A name that is such a word is looked for only together with the other names.
    """
    found: set[str] = set()
    for room in ("report", "findings", "store"):
        for path in sorted((PACKAGE / room).rglob("*")):
            if path.suffix in (".py", ".css", ".js") and path.name != OWN_FILE:
                found.update(WORDS.findall(path.read_text(encoding="utf-8").lower()))
    return frozenset(found)


def _joined(parts: list[str]) -> Iterator[str]:
    for order in permutations(parts):
        if len(order) > 1:
            yield from (separator.join(order) for separator in ("^", " ", ", ", "_", "-"))


def _needle(text: str) -> Needle:
    short = len(text) < SHORTEST_PART and text.isascii()
    is_number = not any(map(str.isalpha, text))
    is_hex = re.fullmatch(r"[0-9a-f]+", text) is not None  # as a part of some hash
    return Needle(text[:LONGEST], is_word=(short or is_number or is_hex) and len(text) <= LONGEST)


def _is_past(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) > LAST_TAG


def _values_of(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for tag in dataset.keys():  # noqa: SIM118 - iterating a data set converts every element
        raw = dataset.get_item(tag)
        vr = cast("RawDataElement | DataElement", raw).VR
        if vr is None and tag not in _TAGS and not _may_hold(tag):
            continue
        if vr not in (None, "PN", "SQ", "UN") and tag not in _TAGS:
            continue
        yield from _values_of_element(dataset, tag)


def _may_hold(tag: BaseTag) -> bool:
    """Whether an element without a VR could be a sequence or a name."""
    return not tag.is_private and keyword_for_tag(tag) != ""


def _values_of_element(dataset: Dataset, tag: BaseTag) -> Iterator[tuple[str, str]]:
    try:
        element = dataset[tag]
    except PARSE_ERRORS:
        return  # a value that cannot be decoded by the libraries cannot have been copied by them
    if element.VR == "SQ":
        for item in element.value:
            yield from _values_of(item)
    elif element.VR == "PN" or tag in _TAGS:
        keyword = element.keyword or "PrivateName"
        values = element.value if element.VM > 1 else [element.value]
        for value in values:
            text = str(value or "").strip(" \0")
            if text:
                yield keyword, text
