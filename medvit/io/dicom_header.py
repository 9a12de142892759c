"""What triage needs to know of one DICOM file, read without its pixels."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset

from medvit.errors import ReadError
from medvit.geometry import Triple
from medvit.io.dicom_values import PARSE_ERRORS, Values, plain_uid
from medvit.io.os_errors import is_system_error, unreadable
from medvit.io.quiet import silence_libraries

silence_libraries()

HEAD_BYTES = 1 << 16
"""First part of a file, parsed in memory; nearly every CT header ends inside it."""

CACHED_HEADERS = 4096
"""Headers kept, so that discovery, triage and reading parse a file once; about 2 KB each."""

UNDEFINED_LENGTH = 0xFFFFFFFF
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"

_KEYWORDS = [
    "AcquisitionNumber",
    "BitsAllocated",
    "BitsStored",
    "BurnedInAnnotation",
    "Columns",
    "ConvolutionKernel",
    "FrameOfReferenceUID",
    "HighBit",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "InstanceNumber",
    "LossyImageCompression",
    "Modality",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SeriesInstanceUID",
    "StudyInstanceUID",
]
_TAGS = [tag for tag in map(tag_for_keyword, _KEYWORDS) if tag is not None]


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
        instance_number: As the scanner counted; None when absent. Says nothing of the order.
        slope: Rescale slope; None when the file has none. `intercept` likewise.
        bad_values: Keywords whose values break their own type.
        has_meta: Whether the file starts with file meta information.
        encoding_faults: What breaks the encoding and was read all the same, as sentences.
    """

    path: Path
    frame: int
    file_bytes: int
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
    """Return the header of a DICOM file; parsed once as long as the file is unchanged.

    Raises:
        ReadError: `unreadable` when the file cannot be opened, `not_dicom` when it
            cannot be parsed, `transfer_syntax` when its data set is deflated.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return _read_header(path, state.st_size, state.st_mtime_ns)


def read_headers(path: Path) -> tuple[SliceHeader, ...]:
    """Return the headers of all slices in a DICOM file; one, unless it is multi-frame.

    Raises:
        ReadError: As `read_header`.
    """
    return (read_header(path),)


@lru_cache(maxsize=CACHED_HEADERS)
def _read_header(path: Path, file_bytes: int, mtime_ns: int) -> SliceHeader:
    try:
        with path.open("rb") as file:
            return _parse(path, file, file_bytes)
    except OSError as error:
        raise unreadable(path, error) from error


def _parse(path: Path, file: BinaryIO, file_bytes: int) -> SliceHeader:
    head = file.read(HEAD_BYTES)
    _refuse_deflated(path, head)
    try:
        found = _parse_bytes(path, io.BytesIO(head), file_bytes)
        if found.layout.offset or file_bytes <= len(head):
            return found
    except (OSError, *PARSE_ERRORS) as error:
        if file_bytes <= len(head):
            raise _not_dicom(path, error) from error
    try:
        return _parse_bytes(path, _Bounded(file, file_bytes), file_bytes)
    except (OSError, *PARSE_ERRORS) as error:
        if is_system_error(error):
            raise
        raise _not_dicom(path, error) from error


def _refuse_deflated(path: Path, head: bytes) -> None:
    if DEFLATED.encode() in head[128:1024]:
        msg = f"{path.name}: the data set is deflated (transfer syntax {DEFLATED})"
        hint = "store it again as Explicit VR Little Endian"
        raise ReadError(msg, reason="transfer_syntax", hint=hint)


def _not_dicom(path: Path, error: BaseException) -> ReadError:
    msg = f"{path.name}: cannot be parsed as DICOM ({type(error).__name__})"
    return ReadError(msg, reason="not_dicom", hint="export the file again")


class _Bounded(io.RawIOBase):
    """A file that never hands out, nor makes room for, more than it holds."""

    def __init__(self, file: BinaryIO, file_bytes: int) -> None:
        self._file = file
        self._file_bytes = file_bytes

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._file_bytes - self._file.tell())
        return self._file.read(left if count < 0 else min(count, left))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _parse_bytes(path: Path, stream: io.BytesIO | _Bounded, file_bytes: int) -> SliceHeader:
    stream.seek(0)
    dataset = pydicom.dcmread(
        cast("BinaryIO", stream),
        stop_before_pixels=True,
        force=True,
        specific_tags=list(_TAGS),
    )
    offset = stream.tell()
    stream.seek(offset)
    element = _pixel_element(stream.read(12), dataset, offset)
    return _header_of(path, file_bytes, dataset, element)


def _pixel_element(raw: bytes, dataset: FileDataset, offset: int) -> tuple[int, int, int | None]:
    """Return offset, value offset and declared length of the pixel element."""
    is_implicit, is_little = dataset.original_encoding
    order = "<" if is_little or is_little is None else ">"
    if len(raw) < 8 or struct.unpack(f"{order}HH", raw[:4]) != (0x7FE0, 0x0010):
        return 0, 0, 0
    if is_implicit:
        start, length = 8, struct.unpack(f"{order}L", raw[4:8])[0]
    elif raw[4:6] in (b"OB", b"OW", b"UN"):
        if len(raw) < 12:
            return 0, 0, 0
        start, length = 12, struct.unpack(f"{order}L", raw[8:12])[0]
    else:
        start, length = 8, struct.unpack(f"{order}H", raw[6:8])[0]
    return offset, offset + start, None if length == UNDEFINED_LENGTH else length


def _header_of(
    path: Path, file_bytes: int, dataset: FileDataset, element: tuple[int, int, int | None]
) -> SliceHeader:
    values = Values(dataset)
    meta = dataset.file_meta
    return SliceHeader(
        path=path,
        frame=0,
        file_bytes=file_bytes,
        study_uid=values.uid("StudyInstanceUID"),
        series_uid=values.uid("SeriesInstanceUID"),
        sop_uid=values.uid("SOPInstanceUID"),
        sop_class=values.uid("SOPClassUID")
        or plain_uid(str(meta.get("MediaStorageSOPClassUID", ""))),
        instance_number=_instance_number(values),
        modality=values.text("Modality"),
        image_type=values.texts("ImageType"),
        layout=_layout_of(values, element),
        placement=_placement_of(values),
        slope=values.number("RescaleSlope"),
        intercept=values.number("RescaleIntercept"),
        rescale_type=values.text("RescaleType"),
        transfer_syntax=plain_uid(str(meta.get("TransferSyntaxUID", ""))),
        kernel=values.text("ConvolutionKernel"),
        acquisition=values.text("AcquisitionNumber"),
        is_lossy=values.text("LossyImageCompression") == "01",
        is_burned_in=values.text("BurnedInAnnotation").upper() == "YES",
        has_meta=len(meta) > 0,
        bad_values=tuple(values.bad),
    )


def _instance_number(values: Values) -> int | None:
    return values.get("InstanceNumber", lambda value: int(str(value)), None)


def _layout_of(values: Values, element: tuple[int, int, int | None]) -> PixelLayout:
    bits_allocated = values.whole("BitsAllocated")
    bits_stored = values.whole("BitsStored", bits_allocated)
    offset, value_offset, declared_bytes = element
    return PixelLayout(
        rows=values.whole("Rows"),
        columns=values.whole("Columns"),
        samples=values.whole("SamplesPerPixel", 1),
        frames=values.whole("NumberOfFrames", 1),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=values.whole("HighBit", bits_stored - 1),
        is_signed=values.whole("PixelRepresentation") == 1,
        photometric=values.text("PhotometricInterpretation"),
        offset=offset,
        value_offset=value_offset,
        declared_bytes=declared_bytes,
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
