"""Stored values of one DICOM slice: read straight from the file, or decompressed."""

from __future__ import annotations

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from medvit.errors import ReadError
from medvit.io.dicom_header import BIG_ENDIAN, SliceHeader
from medvit.io.dicom_values import PARSE_ERRORS
from medvit.io.os_errors import is_system_error, unreadable
from medvit.io.planes import Plane

NATIVE_SYNTAXES = frozenset({"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN})
"""Transfer syntaxes whose pixels lie plainly in the file; an absent one means implicit."""

INSTALL = {
    "1.2.840.10008.1.2.4.80": "pip install pyjpegls",
    "1.2.840.10008.1.2.4.81": "pip install pyjpegls",
    "1.2.840.10008.1.2.4.90": "pip install pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pip install pylibjpeg pylibjpeg-openjpeg",
}
"""Packages that decode a transfer syntax; `medvit` asks for them when it is installed."""


def is_native(header: SliceHeader) -> bool:
    """Return whether the pixels lie uncompressed in the file."""
    return header.transfer_syntax in NATIVE_SYNTAXES


def decoder_problem(transfer_syntax: str) -> str:
    """Return why a transfer syntax cannot be decoded here; empty when it can."""
    if transfer_syntax in NATIVE_SYNTAXES:
        return ""
    uid = UID(transfer_syntax)
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        return f"transfer syntax {transfer_syntax} is not known here; store as Explicit VR"
    if decoder.is_available:
        return ""
    way_out = INSTALL.get(transfer_syntax, "store the series uncompressed")
    return f"no decoder installed for {uid.name} ({transfer_syntax}): {way_out}"


def read_stored(header: SliceHeader) -> Plane:
    """Return the stored values `(y, x)` of a single-frame grey slice, before rescale.

    Raises:
        ReadError: `truncated`, `undecodable`, `transfer_syntax` or `unreadable`.
    """
    if is_native(header):
        return _in_stored_bits(_read_native(header), header)
    problem = decoder_problem(header.transfer_syntax)
    if problem:
        msg = f"{header.path.name}: {problem}"
        raise ReadError(msg, reason="transfer_syntax")
    return _decompress(header)


def _read_native(header: SliceHeader) -> Plane:
    layout = header.layout
    order = ">" if header.transfer_syntax == BIG_ENDIAN else "<"
    dtype = np.dtype(f"{order}{'i' if layout.is_signed else 'u'}{layout.bits_allocated // 8}")
    count = layout.rows * layout.columns
    try:
        with header.path.open("rb") as file:
            file.seek(layout.value_offset)
            raw = file.read(count * dtype.itemsize)
    except OSError as error:
        raise unreadable(header.path, error) from error
    if len(raw) < count * dtype.itemsize:
        msg = f"{header.path.name}: {len(raw)} of {count * dtype.itemsize} bytes of pixels found"
        raise ReadError(msg, reason="truncated", hint="copy the file again")
    plane = np.frombuffer(raw, dtype).reshape(layout.rows, layout.columns)
    return plane.astype(dtype.newbyteorder("="), copy=False)


def _in_stored_bits(plane: Plane, header: SliceHeader) -> Plane:
    """Drop bits outside the stored ones: old files keep overlays there."""
    layout = header.layout
    if layout.bits_stored == layout.bits_allocated:
        return plane
    above = layout.bits_allocated - 1 - layout.high_bit
    below = layout.high_bit + 1 - layout.bits_stored
    return (plane << above) >> (above + below)


def _decompress(header: SliceHeader) -> Plane:
    try:
        plane = pixel_array(header.path, raw=True)
    except (OSError, RuntimeError, *PARSE_ERRORS) as error:
        if is_system_error(error):
            raise unreadable(header.path, error) from error
        msg = f"{header.path.name}: the compressed pixels cannot be decoded"
        hint = f"decompress or export the series again ({type(error).__name__})"
        raise ReadError(msg, reason="undecodable", hint=hint) from error
    expected = (header.layout.rows, header.layout.columns)
    if plane.shape != expected:
        msg = f"{header.path.name}: decoded to {plane.shape}, the header says {expected}"
        raise ReadError(msg, reason="undecodable", hint="export the series again")
    return plane
