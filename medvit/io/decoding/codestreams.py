"""Decoding the codestream of one grey DICOM frame; runs in the decoding process.

Each codec gives unsigned or signed cells as its codestream has them; what the header of
the file says about sign and bits is the caller's to apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

DECODE_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, OSError)
"""What the codec packages raise on broken codestreams."""


@dataclass(frozen=True, slots=True)
class FrameJob:
    """What is known of a codestream before it is decoded.

    Attributes:
        codec: A key of `CODECS`.
        transfer_syntax: UID; GDCM chooses its JPEG library by it.
        bits: Precision as the codestream says.
    """

    codec: str
    transfer_syntax: str
    rows: int
    columns: int
    bits: int

    @property
    def cell_bytes(self) -> int:
        """Bytes that the decoded value of a pixel takes."""
        return 1 if self.bits <= 8 else 2 if self.bits <= 16 else 4

    @property
    def frame_bytes(self) -> int:
        """Bytes of the decoded frame."""
        return self.rows * self.columns * self.cell_bytes


def decode_codestream(job: FrameJob, stream: bytes | bytearray) -> bytes | bytearray:
    """Return the cells of a frame, row by row, little endian.

    Raises:
        ValueError: If the codestream is broken or holds another frame than was said.
    """
    try:
        cells = CODECS[job.codec](job, bytes(stream))
    except DECODE_ERRORS as error:
        msg = f"{job.codec} gave up ({type(error).__name__})"
        raise ValueError(msg) from error
    if len(cells) != job.frame_bytes:
        msg = f"{job.codec} gave {len(cells)} bytes, {job.frame_bytes} expected"
        raise ValueError(msg)
    return cells


def _by_openjpeg(job: FrameJob, stream: bytes) -> bytearray:
    openjpeg: Any = import_module("openjpeg")
    cells: bytearray = openjpeg.decode_pixel_data(stream, version=2)
    return cells


def _by_jpeg_ls(job: FrameJob, stream: bytes) -> bytearray:
    cells, _ = import_module("jpeg_ls").decode_pixel_data(stream)
    found: bytearray = cells
    return found


def _by_gdcm(job: FrameJob, stream: bytes) -> bytes:
    gdcm: Any = import_module("gdcm")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((job.columns, job.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    syntax = gdcm.TransferSyntax.GetTSType(job.transfer_syntax)
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    # GDCM ends its process when fewer bits are stored than allocated in 8: full cells always.
    cell_bits = 8 * job.cell_bytes
    image.SetPixelFormat(gdcm.PixelFormat(1, cell_bits, cell_bits, cell_bits - 1, 0))
    cells: str | None = image.GetBuffer()
    if cells is None:
        msg = "no pixels"
        raise ValueError(msg)
    return cells.encode("utf-8", "surrogateescape")


CODECS: dict[str, Callable[[FrameJob, bytes], bytes | bytearray]] = {
    "gdcm": _by_gdcm,
    "jpeg_ls": _by_jpeg_ls,
    "openjpeg": _by_openjpeg,
}
"""Every decoder by the module it comes from: one for each transfer syntax, whatever else
is installed."""
