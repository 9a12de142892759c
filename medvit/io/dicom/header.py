"""What triage needs to know of one DICOM file, read without its pixels."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from medvit.errors import ReadError
from medvit.geometry import Triple
from medvit.io.dicom.elements import (
    KNOWN_VRS,
    PIXEL_DATA,
    UNDEFINED_LENGTH,
    WINDOW_BYTES,
    DicomSyntaxError,
    Elements,
    Found,
    walk,
    walk_meta,
)
from medvit.io.dicom.frames import FRAME_SEQUENCES, read_frames
from medvit.io.dicom.inflate import DEFLATED, MOST_HEADER_BYTES, InflatedFile
from medvit.io.dicom.values import TAGS, Values, plain_uid
from medvit.io.os_errors import unreadable
from medvit.io.sniff import claims_dicom, has_mark, starts_like_dicom

CACHED_HEADERS = 16384
"""Files whose headers are kept, so that discovery, triage and reading parse a file once;
about 2 KB each."""

IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"

_WANTED = frozenset(TAGS.values()) | FRAME_SEQUENCES


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How pixels lie in the file.

    Attributes:
        offset: Byte where the pixel element starts; 0 when there is none.
        value_offset: Byte where its value starts.
        declared_bytes: Length it claims; None when undefined (encapsulated).
    """

    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric: str
    offset: int
    value_offset: int
    declared_bytes: int | None

    @property
    def native_bytes(self) -> int:
        """Length of the pixels when they are not compressed."""
        bits = self.rows * self.columns * self.samples * self.frames * self.bits_allocated
        return (bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a slice lies in the patient; None where the file does not say.

    Attributes:
        position_mm: Centre of the first pixel, LPS.
        orientation: Direction of increasing column, then of increasing row.
        pixel_spacing_mm: Distance of rows, then of columns.
    """

    position_mm: Triple | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, float] | None
    frame_uid: str


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One slice of a DICOM file without its pixels.

    Attributes:
        frame: Number of the frame in a multi-frame file, from 0.
        patient_hash: Tells patients apart; empty when the file names none.
        instance_number: As the scanner counted; None when absent. Says nothing of the order.
        slope: Rescale slope; None when the file has none. `intercept` likewise.
        bad_values: Keywords whose values break their own type.
        has_meta: Whether the file starts with file meta information.
        encoding_faults: What breaks the encoding and was read all the same, as sentences.
    """

    path: Path
    frame: int
    file_bytes: int
    patient_hash: str
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    instance_number: int | None
    modality: str
    image_type: tuple[str, ...]
    layout: PixelLayout
    placement: Placement
    slope: float | None
    intercept: float | None
    rescale_type: str
    transfer_syntax: str
    kernel: str
    acquisition: str
    is_lossy: bool
    is_burned_in: bool
    has_meta: bool
    bad_values: tuple[str, ...]
    encoding_faults: tuple[str, ...] = ()


def read_header(path: Path) -> SliceHeader:
    """Return the header of a DICOM file, of its first frame if it has several.

    Raises:
        ReadError: As `read_headers`.
    """
    return read_headers(path)[0]


def read_headers(path: Path) -> tuple[SliceHeader, ...]:
    """Return the headers of all slices in a DICOM file: one, unless it is multi-frame.

    A file is parsed once as long as it is unchanged.

    Raises:
        ReadError: `unreadable` when the file cannot be opened, `not_dicom` when it
            cannot be parsed.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return _read_headers(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=CACHED_HEADERS)
def _read_headers(path: Path, file_bytes: int, mtime_ns: int) -> tuple[SliceHeader, ...]:
    try:
        with path.open("rb", buffering=0) as file:
            return _parse(path, cast("BinaryIO", file), file_bytes)
    except OSError as error:
        raise unreadable(path, error) from error
    except DicomSyntaxError as error:
        raise _not_dicom(path, str(error)) from error
    except zlib.error as error:
        raise _not_dicom(path, "its deflated part is broken") from error


def _not_dicom(path: Path, why: str) -> ReadError:
    msg = f"{path.name}: cannot be parsed as DICOM ({why})"
    return ReadError(msg, reason="not_dicom", hint="export the file again")


def _unlike_dicom(path: Path, head: bytes) -> ReadError:
    what = "is empty" if not head else "does not start like a DICOM file"
    name = "for all its name" if claims_dicom(path) else "and has no known suffix"
    msg = f"{path.name}: {what}, {name}"
    return ReadError(msg, reason="not_dicom", hint="export it again or leave it out")


def _parse(path: Path, file: BinaryIO, file_bytes: int) -> tuple[SliceHeader, ...]:
    head = file.read(WINDOW_BYTES)
    if not has_mark(head) and not starts_like_dicom(head):
        raise _unlike_dicom(path, head)
    elements = Elements(file, head)
    meta = walk_meta(elements)
    syntax = plain_uid(meta.values.get(TAGS["TransferSyntaxUID"], b"").decode("latin-1"))
    if syntax == DEFLATED:
        stream = InflatedFile(file, meta.end, most_bytes=MOST_HEADER_BYTES)
        elements = Elements(cast("BinaryIO", stream), stream.read(WINDOW_BYTES))
    is_implicit, faults = _settle_encoding(elements, meta.end, syntax)
    found = walk(elements, meta.end, _WANTED, is_implicit=is_implicit)
    if elements.is_mixed:
        faults += ("elements without a value representation stand among others with one",)
    values = Values(found.values | meta.values, is_little=elements.is_little)
    header = _header_of(path, file_bytes, values, _layout_of(values, found))
    header = replace(header, has_meta=bool(meta.values), encoding_faults=faults)
    return _frames_of(header, elements, found, is_implicit=is_implicit)


def _settle_encoding(elements: Elements, start: int, syntax: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether a data set is implicit, and how it contradicts its transfer syntax.

    What the first element looks like is believed; the byte order is set on `elements`.
    """
    faults: tuple[str, ...] = ()
    first = elements.bytes_at(start, 6)
    says_big = syntax == BIG_ENDIAN
    looks_big = first[:1] == b"\0" and first[1:2] != b"\0"
    elements.set_order(is_little=not looks_big)
    if looks_big != says_big and first and syntax:
        faults += ("the byte order is not that of the transfer syntax",)
    looks_explicit = first[4:6] in KNOWN_VRS
    if looks_explicit == (syntax == IMPLICIT) and first and syntax:
        what = "explicit" if looks_explicit else "implicit"
        faults += (f"the data set is {what}, the transfer syntax says otherwise",)
    return not looks_explicit, faults


def _header_of(path: Path, file_bytes: int, values: Values, layout: PixelLayout) -> SliceHeader:
    return SliceHeader(
        path=path,
        frame=0,
        file_bytes=file_bytes,
        patient_hash=values.hashed("PatientID"),
        study_uid=values.uid("StudyInstanceUID"),
        series_uid=values.uid("SeriesInstanceUID"),
        sop_uid=values.uid("SOPInstanceUID"),
        sop_class=values.uid("SOPClassUID") or values.uid("MediaStorageSOPClassUID"),
        instance_number=values.whole("InstanceNumber"),
        modality=values.text("Modality"),
        image_type=values.texts("FrameType") or values.texts("ImageType"),
        layout=layout,
        placement=_placement_of(values),
        slope=values.number("RescaleSlope"),
        intercept=values.number("RescaleIntercept"),
        rescale_type=values.text("RescaleType"),
        transfer_syntax=values.uid("TransferSyntaxUID"),
        kernel=values.text("ConvolutionKernel"),
        acquisition=_acquisition_of(values),
        is_lossy=values.text("LossyImageCompression") == "01",
        is_burned_in=values.text("BurnedInAnnotation").upper() == "YES",
        has_meta=False,
        bad_values=tuple(values.bad),
    )


def _frames_of(
    header: SliceHeader, elements: Elements, found: Found, *, is_implicit: bool
) -> tuple[SliceHeader, ...]:
    frames = read_frames(elements, found, is_implicit=is_implicit)
    own = []
    for number, raw in enumerate(frames[: header.layout.frames]):
        values = Values(raw, is_little=elements.is_little)
        frame = _header_of(header.path, header.file_bytes, values, header.layout)
        own.append(
            replace(
                frame,
                frame=number,
                instance_number=number + 1,
                has_meta=header.has_meta,
                sop_class=header.sop_class,
                transfer_syntax=header.transfer_syntax,
                encoding_faults=header.encoding_faults,
            )
        )
    return tuple(own) or (header,)


def _acquisition_of(values: Values) -> str:
    """Return what tells acquisitions of one series apart; time points count as such."""
    parts = (
        values.text("FrameAcquisitionNumber") or values.text("AcquisitionNumber"),
        str(values.unsigned("TemporalPositionIndex") or ""),
    )
    return " time ".join(filter(None, parts))


def _frame_count(values: Values) -> int:
    frames = values.whole("NumberOfFrames")
    return 1 if frames is None else frames


def _layout_of(values: Values, found: Found) -> PixelLayout:
    pixels = found.pixels
    bits_allocated = values.unsigned("BitsAllocated")
    if pixels is not None and pixels.tag != PIXEL_DATA:
        bits_allocated = 0  # floating point, which no CT stores: nothing that can be read
    bits_stored = values.unsigned("BitsStored", bits_allocated)
    is_defined = pixels is not None and pixels.length != UNDEFINED_LENGTH
    return PixelLayout(
        rows=values.unsigned("Rows"),
        columns=values.unsigned("Columns"),
        samples=values.unsigned("SamplesPerPixel", 1),
        frames=_frame_count(values),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=values.unsigned("HighBit", bits_stored - 1),
        is_signed=values.unsigned("PixelRepresentation") == 1,
        photometric=values.text("PhotometricInterpretation"),
        offset=found.pixel_start,
        value_offset=0 if pixels is None else pixels.value_start,
        declared_bytes=0 if pixels is None else pixels.length if is_defined else None,
    )


def _placement_of(values: Values) -> Placement:
    position = values.numbers("ImagePositionPatient", 3)
    spacing = values.numbers("PixelSpacing", 2)
    return Placement(
        position_mm=None if position is None else (position[0], position[1], position[2]),
        orientation=values.numbers("ImageOrientationPatient", 6),
        pixel_spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        frame_uid=values.uid("FrameOfReferenceUID"),
    )
