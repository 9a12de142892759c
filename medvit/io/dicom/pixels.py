"""Stored values of one DICOM slice: read straight from the file, or decompressed.

Each transfer syntax has one decoder, so that an answer never depends on what else is
installed. Those written in C run in a process of their own.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np

from medvit.errors import ReadError
from medvit.io.decoding.codestreams import FrameJob
from medvit.io.decoding.process import Job, decoder
from medvit.io.dicom.cells import cells_of, in_stored_bits, read_cells
from medvit.io.dicom.codestream import Codestream, is_ended, read_codestream
from medvit.io.dicom.fragments import read_frame
from medvit.io.dicom.header import BIG_ENDIAN, SliceHeader
from medvit.io.dicom.inflate import DEFLATED
from medvit.io.dicom.rle import decode_rle
from medvit.io.planes import Plane

NATIVE_SYNTAXES = frozenset({"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED})
"""Transfer syntaxes whose pixels lie plainly in the data set; an absent one means implicit."""

RLE = "1.2.840.10008.1.2.5"
UNCOMPRESSED_FRAMES = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
OWN_SYNTAXES = frozenset({RLE, UNCOMPRESSED_FRAMES, DEFLATED_FRAMES})
"""Transfer syntaxes of frames in fragments that are decoded right here."""

PACKAGES = {
    "gdcm": "python-gdcm",
    "jpeg_ls": "pyjpegls",
    "openjpeg": "pylibjpeg-openjpeg",
}
"""What to install for a decoder; `medvit` asks for all of them when it is installed."""


@dataclass(frozen=True, slots=True)
class Codec:
    """The decoder of a transfer syntax.

    Attributes:
        module: As it is imported, a key of `PACKAGES`.
        is_lossless: Whether the codestream keeps every stored bit for certain.
    """

    name: str
    module: str
    is_lossless: bool


CODECS: dict[str, Codec] = {
    "1.2.840.10008.1.2.4.50": Codec("JPEG baseline", "gdcm", is_lossless=False),
    "1.2.840.10008.1.2.4.51": Codec("JPEG extended", "gdcm", is_lossless=False),
    "1.2.840.10008.1.2.4.57": Codec("JPEG lossless", "gdcm", is_lossless=True),
    "1.2.840.10008.1.2.4.70": Codec("JPEG lossless SV1", "gdcm", is_lossless=True),
    "1.2.840.10008.1.2.4.80": Codec("JPEG-LS lossless", "jpeg_ls", is_lossless=True),
    "1.2.840.10008.1.2.4.81": Codec("JPEG-LS near-lossless", "jpeg_ls", is_lossless=False),
    "1.2.840.10008.1.2.4.90": Codec("JPEG 2000 lossless", "openjpeg", is_lossless=True),
    "1.2.840.10008.1.2.4.91": Codec("JPEG 2000", "openjpeg", is_lossless=False),
    "1.2.840.10008.1.2.4.201": Codec("HTJ2K lossless", "openjpeg", is_lossless=True),
    "1.2.840.10008.1.2.4.202": Codec("HTJ2K lossless RPCL", "openjpeg", is_lossless=True),
    "1.2.840.10008.1.2.4.203": Codec("HTJ2K", "openjpeg", is_lossless=False),
}
"""One decoder for each transfer syntax of compressed pixels."""


def is_native(header: SliceHeader) -> bool:
    """Return whether the pixels lie uncompressed in the data set."""
    return header.transfer_syntax in NATIVE_SYNTAXES


def decoder_problem(transfer_syntax: str) -> str:
    """Return why a transfer syntax cannot be decoded here; empty when it can."""
    if transfer_syntax in NATIVE_SYNTAXES | OWN_SYNTAXES:
        return ""
    codec = CODECS.get(transfer_syntax)
    if codec is None:
        return f"transfer syntax {transfer_syntax} is not known here; store as Explicit VR"
    if _is_installed(codec.module):
        return ""
    way_out = f"pip install {PACKAGES[codec.module]}"
    return f"no decoder installed for {codec.name} ({transfer_syntax}): {way_out}"


def read_stored(header: SliceHeader) -> Plane:
    """Return the stored values `(y, x)` of a grey slice, before rescale.

    Raises:
        ReadError: `truncated`, `undecodable`, `bad_value`, `transfer_syntax`,
            `too_large`, `not_an_image` or `unreadable`.
    """
    return read_rows(header, slice(0, header.layout.rows))


def read_rows(header: SliceHeader, rows: slice) -> Plane:
    """Return some rows `(y, x)` of a grey slice; of native pixels no others are read.

    Args:
        header: Of the slice; its `frame` is read.
        rows: `start` and `stop` within the slice.

    Raises:
        ReadError: As `read_stored`.
    """
    layout = header.layout
    if not layout.offset or layout.rows < 1 or layout.columns < 1:
        msg = f"{header.path.name}: holds no pixels ({layout.columns}x{layout.rows})"
        raise ReadError(msg, reason="not_an_image", hint="leave it out, or copy it again")
    if is_native(header):
        plane: Plane = read_cells(header, rows)
        return plane
    problem = decoder_problem(header.transfer_syntax)
    if problem:
        msg = f"{header.path.name}: {problem}"
        raise ReadError(msg, reason="transfer_syntax")
    if header.transfer_syntax in OWN_SYNTAXES:
        return _decode_here(header)[rows]
    return _decode_apart(header, CODECS[header.transfer_syntax])[rows]


@cache
def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def _decode_here(header: SliceHeader) -> Plane:
    layout = header.layout
    pixels, frame = layout.rows * layout.columns, read_frame(header)
    needed = -(-pixels * layout.bits_allocated // 8)
    try:
        if header.transfer_syntax == RLE:
            cells = decode_rle(frame, pixels=pixels, cell_bytes=layout.bits_allocated // 8)
            frame = cells.astype(cells.dtype.newbyteorder("<"), copy=False).tobytes()
        elif header.transfer_syntax == DEFLATED_FRAMES:
            frame = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, needed)
        if len(frame) < needed:
            msg = f"{len(frame)} of {needed} bytes of pixels"
            raise ValueError(msg)
    except (ValueError, zlib.error) as error:
        raise _undecodable(header, str(error)) from error
    return in_stored_bits(header, cells_of(header, frame, 0, pixels))


def _decode_apart(header: SliceHeader, codec: Codec) -> Plane:
    stream = read_frame(header)
    found = read_codestream(stream)
    if found is None:
        raise _undecodable(header, "no codestream in them")
    _check_agreement(header, found)
    if not is_ended(stream):
        msg = f"{header.path.name}: the codestream ends without its last marker"
        raise ReadError(msg, reason="truncated", hint="copy or export the file again")
    job = FrameJob(codec.module, header.transfer_syntax, found.rows, found.columns, found.bits)
    _, cells = decoder().ask(
        Job(
            name=header.path.name,
            pixels=found.rows * found.columns,
            head={"job": "frame", "frame": asdict(job)},
            body=stream,
            most_bytes=job.frame_bytes,
        )
    )
    plane = np.frombuffer(cells, f"<u{job.cell_bytes}").reshape(found.rows, found.columns)
    return _with_sign_of_header(plane, header, found, is_lossless=codec.is_lossless)


def _check_agreement(header: SliceHeader, found: Codestream) -> None:
    layout = header.layout
    declared = (layout.rows, layout.columns, layout.samples)
    held = (found.rows, found.columns, found.components)
    if held != declared or layout.samples != 1:
        msg = (
            f"{header.path.name}: the codestream holds {found.columns}x{found.rows} pixels of "
            f"{found.components} samples, the header says {layout.columns}x{layout.rows} of "
            f"{layout.samples}; one sample can be read"
        )
        raise ReadError(msg, reason="undecodable", hint="export the series again")
    if not 1 <= found.bits <= 32:
        raise _undecodable(header, f"samples of {found.bits} bits, at most 32 are read")


def _with_sign_of_header(
    plane: Plane, header: SliceHeader, found: Codestream, *, is_lossless: bool
) -> Plane:
    """Read the bits of decoded cells as the header says: it knows the sign, JPEG does not.

    A JPEG 2000 codestream has a sign of its own; where it contradicts the header, the
    header is right (the codestream was made without it).
    """
    kind, cell_bits = "i" if header.layout.is_signed else "u", 8 * plane.dtype.itemsize
    if found.is_signed == header.layout.is_signed:
        return plane.view(f"{kind}{plane.dtype.itemsize}")
    # Lossy values may leave the stored bits by a little: cutting those off would wrap them.
    stored = header.layout.bits_stored if is_lossless else found.bits
    surplus = cell_bits - max(1, min(found.bits, stored))
    return (plane << surplus).view(f"{kind}{plane.dtype.itemsize}") >> surplus


def _undecodable(header: SliceHeader, why: str) -> ReadError:
    msg = f"{header.path.name}: the compressed pixels cannot be decoded ({why})"
    return ReadError(msg, reason="undecodable", hint="decompress or export the series again")
