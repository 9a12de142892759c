"""DICOM files of one or more frames in every transfer syntax, with the values they hold."""

from __future__ import annotations

import io
import zlib
from base64 import b85decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

from medvit.io.dicom.header import SliceHeader, read_header
from tests.make.dicom import CtSeries, ct_slice, ramp, save
from tests.make.jpeg_lossless import encode_jpeg_lossless

Stored = npt.NDArray[np.int64]

SIDE = 64
UNCOMPRESSED_FRAMES = UID("1.2.840.10008.1.2.1.98")
DEFLATED_FRAMES = UID("1.2.840.10008.1.2.8.1")


@dataclass(frozen=True, slots=True)
class Cells:
    """How the values of a file are to be stored."""

    bits: int = 16
    is_signed: bool = False
    frames: int = 1

    @property
    def allocated(self) -> int:
        """Bits of a cell."""
        return 8 if self.bits <= 8 else 16

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """Type of a cell, little endian."""
        return np.dtype(f"<{'i' if self.is_signed else 'u'}{self.allocated // 8}")

    def values(self, *, side: int = SIDE) -> Stored:
        """Return `(frame, y, x)` values that use every bit and tell rows, columns, frames apart."""
        z, y, x = np.mgrid[: self.frames, :side, :side]
        found = (z * 1001 + y * 37 + x * 101 + y * x // 3) % (1 << self.bits)
        shifted: Stored = found - (1 << (self.bits - 1)) if self.is_signed else found
        return shifted


def write_frames(
    path: Path, values: Stored, cells: Cells, syntax: UID, frames: Sequence[bytes] | bytes
) -> Path:
    """Write a file whose pixels are given encoded: a list for fragments, bytes for plain ones."""
    dataset = ct_slice(CtSeries(hu=ramp((1, 8, 8))), 0)
    dataset.Rows, dataset.Columns = values.shape[1:]
    dataset.NumberOfFrames = len(values)
    dataset.BitsAllocated, dataset.BitsStored = cells.allocated, cells.bits
    dataset.HighBit, dataset.PixelRepresentation = cells.bits - 1, int(cells.is_signed)
    save(dataset, path)
    is_plain = isinstance(frames, bytes)
    dataset.PixelData = frames if isinstance(frames, bytes) else encapsulate(list(frames))
    dataset["PixelData"].VR = "OW" if is_plain else "OB"
    dataset["PixelData"].is_undefined_length = not is_plain
    is_unknown = syntax == DEFLATED_FRAMES
    dataset.file_meta.TransferSyntaxUID = UNCOMPRESSED_FRAMES if is_unknown else syntax
    dataset.save_as(path, enforce_file_format=True)
    if is_unknown:
        # pydicom 3.0 does not know this transfer syntax; both names have 22 bytes.
        raw = path.read_bytes()
        path.write_bytes(raw.replace(UNCOMPRESSED_FRAMES.encode(), syntax.encode() + b"\0", 1))
    return path


def header_of(path: Path, frame: int) -> SliceHeader:
    """Return the header of one frame."""
    return replace(read_header(path), frame=frame)


def compress(path: Path, cells: Cells, syntax: UID) -> Stored:
    """Write a file with pydicom's own encoder for a transfer syntax; return its values."""
    values = cells.values()
    write_frames(path, values, cells, ExplicitVRLittleEndian, values.astype(cells.dtype).tobytes())
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return values


def jpeg_lossless(frame: Stored, cells: Cells) -> bytes:
    """Encode the bits of a frame, whatever their sign."""
    return encode_jpeg_lossless(frame & ((1 << cells.bits) - 1), bits=cells.bits)


def jpeg_baseline(frame: Stored, cells: Cells) -> bytes:
    """Encode 8 bit values with loss."""
    stream = io.BytesIO()
    Image.fromarray(frame.astype(np.uint8)).save(stream, "JPEG", quality=100)
    return stream.getvalue()


def plain(frame: Stored, cells: Cells) -> bytes:
    """Return the cells of a frame."""
    return frame.astype(cells.dtype).tobytes()


def deflated(frame: Stored, cells: Cells) -> bytes:
    """Return the cells of a frame, deflated without a header."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(plain(frame, cells)) + packer.flush()


FrameEncoder = Callable[[Stored, Cells], bytes]

# Encoded once by OpenJPH 0.26 and libjpeg-turbo 3.1 (12 bits): nothing that tests install
# encodes these. Each holds `tiny_values()` times a factor, plus an offset.
HTJ2K_8_BIT = b85decode(
    "|4;u>04YEK0000G0000G00000000000000G0000G0000000000009R90sl|{2mk^A00092QUDA90ssL31q1{@0smY8"
    "6Cg-XP*6}%P*6}%P*6}vNJ#%=02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000VE_UDlfWh80Ect{0KgK!5`gdk"
    "$8-Q90f%$|z!Ja{0Kfo3bO4Z$07Fy&z!Ja}K=8EkbO1)fF#f<0f$X*bz$buK008H}DNE)6-re2Z{qlSF$?UiQ|Je"
)
HTJ2K_16_BIT = b85decode(
    "|4;u>04YEK0000G0000G00000000000000G0000G0000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY8"
    "6Cj9?kdTm&kdTm&kdTmwh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000kN^SylfVEb|6>G)bN~Rr024p}"
    "698E91BY|~q9p}~bO68r6Tko!04PDp0|Imakdly+0Yg*(zyK9c00nS@2qK6es&ayL07gh7#0W7${=k%h?6v^F04*2*"
    "1+V}B000000002z%6fWo0(bx(pa<{(9>4>501w~+{{5i<d-j9@?79H|*#"
)
HTJ2K_SIGNED = HTJ2K_16_BIT.replace(b"\0\1\x0f\1\1", b"\0\1\x8f\1\1", 1)
JPEG_12_BIT = b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV009930RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI4"
    "0RaI40RaI40RaI40RaI40sp}O3k(1d01yEI5di<h02KfM0RR9100000000000000B4*$de91s8i1_J;90000000000"
    "000094JkE9RAzGj+5iXv0RR9$0G+=rwA^S07sjo;Ye4`DZ8sVLh4HIz8qmA|EwtQd1{cPyylX)K3vD+V0fq6aZyM15"
    "*#"
)


def tiny_values() -> Stored:
    """Return `(1, 16, 16)` values from 0 to 255, each once."""
    return np.arange(256).reshape(1, 16, 16)
