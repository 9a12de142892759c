"""The form of an image file: size, depth, frames and orientation, read without any pixel."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image

from medvit.errors import ReadError
from medvit.io.images.tiff_pages import MOST_PAGES, TiffPage, main_pages, read_pages
from medvit.io.os_errors import is_system_error, unreadable
from medvit.io.quiet import silence_libraries

silence_libraries()

Format = Literal["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"]
FORMATS: tuple[Format, ...] = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")

EXIF_ORIENTATION = 0x0112

MOST_CHUNKS = 10_000
"""Chunks of a PNG or WebP file that are looked at."""

_MARKS: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF8", "GIF"),
)

BROKEN_IMAGE_ERRORS = (
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""What Pillow is known to raise on broken input, beside OSError."""


@dataclass(frozen=True, slots=True)
class Form:
    """What an image file is, as it lies in the file.

    Attributes:
        width: Before it is turned upright.
        orientation: As in EXIF, 1 to 8.
        frames: Images of their own in the file.
        png_type: Bits a sample and colour type of a PNG; `(8, 0)` for others.
        page: The page of a TIFF that is read; None for others.
    """

    format: Format
    width: int
    height: int
    orientation: int = 1
    frames: int = 1
    png_type: tuple[int, int] = (8, 0)
    page: TiffPage | None = None

    @property
    def is_lying(self) -> bool:
        """Return whether upright means turned by a quarter."""
        return self.orientation >= 5


def read_form(path: Path) -> Form:
    """Return the form of an image file, judged by its content and never by its name.

    Raises:
        ReadError: `not_an_image`, `undecodable`, `too_large` or `unreadable`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(32)
        kind = _kind_of(head)
        if kind is None:
            raise _not_an_image(path, is_empty=not head)
        return _READERS.get(kind, _pillow_form)(path, kind)
    except (OSError, *BROKEN_IMAGE_ERRORS) as error:
        if is_system_error(error):
            raise unreadable(path, error) from error
        msg = f"{path.name}: starts like {kind}, but its header cannot be read"
        hint = f"save it again ({type(error).__name__})"
        raise ReadError(msg, reason="undecodable", hint=hint) from error


def _kind_of(head: bytes) -> Format | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for mark, kind in _MARKS if head.startswith(mark)), None)


def _not_an_image(path: Path, *, is_empty: bool) -> ReadError:
    what = "is empty" if is_empty else f"is none of {', '.join(FORMATS)}"
    msg = f"{path.name}: {what}"
    return ReadError(msg, reason="not_an_image", hint="save it again or leave it out")


def _pillow_form(path: Path, kind: Format) -> Form:
    """Read JPEG, BMP and GIF: Pillow parses these headers in Python."""
    with opened_by_pillow(path, path.name, kind) as image:
        width, height = image.size
        # Of a phone's two pictures in one JPEG (MPO) the first is the image.
        is_animated = kind == "GIF" and getattr(image, "is_animated", False)
        frames = int(getattr(image, "n_frames", 1)) if is_animated else 1
        return Form(kind, width, height, _exif_orientation(image.info.get("exif", b"")), frames)


@contextmanager
def opened_by_pillow(source: Path | BinaryIO, name: str, kind: Format) -> Iterator[Image.Image]:
    """Open an image with the Pillow reader of one format, its pixels still unread.

    Raises:
        ReadError: `too_large`.
        OSError: For broken content, and for what the system will not give.
    """
    try:
        image = Image.open(source, formats=(kind,))
    except Image.DecompressionBombError as error:
        msg = f"{name}: more pixels than can be read"
        raise ReadError(msg, reason="too_large", hint="cut it into parts") from error
    with image:
        yield image


def _exif_orientation(raw: bytes) -> int:
    """Return what EXIF says; 1 for broken EXIF: as in every viewer it spoils no pixel."""
    exif = Image.Exif()
    try:
        exif.load(raw)
        found = exif.get(EXIF_ORIENTATION, 1)
    except (OSError, *BROKEN_IMAGE_ERRORS):
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _tiff_form(path: Path, kind: Format) -> Form:
    pages = read_pages(path)
    images = main_pages(pages)
    page = images[0]
    frames = max(len(images), page.images) if len(pages) <= MOST_PAGES else len(pages)
    return Form(kind, page.width, page.height, page.orientation, frames, page=page)


def _png_form(path: Path, kind: Format) -> Form:
    """Read header, frame count and EXIF of a PNG (W3C PNG 3, 5.3, 11.2, 11.3.3.4)."""
    header, frames, orientation = b"", 1, 1
    with path.open("rb") as file:
        file.seek(8)
        for name, length in _iter_chunks(file, is_png=True):
            if name == b"IHDR":
                header = file.read(13)
            elif name == b"acTL":
                frames = max(1, struct.unpack(">L", file.read(4))[0])
            elif name == b"eXIf":
                orientation = _exif_orientation(file.read(min(length, _MOST_EXIF_BYTES)))
    width, height, bits, colour = struct.unpack(">LLBB3x", header)
    return Form(kind, width, height, orientation, frames, png_type=(bits, colour))


def _webp_form(path: Path, kind: Format) -> Form:
    """Read size, animation flag and EXIF of a WebP (RFC 9649, 2.5 to 2.7)."""
    width = height = 0
    orientation, frames = 1, 0
    with path.open("rb") as file:
        file.seek(12)
        for name, length in _iter_chunks(file, is_png=False):
            if name in _WEBP_SIZES and not width:
                width, height = _WEBP_SIZES[name](file.read(10))
            frames += name == b"ANMF"
            if name == b"EXIF":
                raw = file.read(min(length, _MOST_EXIF_BYTES))
                orientation = _exif_orientation(raw)
    return Form(kind, width, height, orientation, max(1, frames))


def _iter_chunks(file: BinaryIO, *, is_png: bool) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of every chunk, the file standing at its content."""
    for _ in range(MOST_CHUNKS):
        raw = file.read(8)
        if len(raw) < 8:
            return
        length = struct.unpack(">L" if is_png else "<L", raw[:4] if is_png else raw[4:])[0]
        place = file.tell()
        yield raw[4:] if is_png else raw[:4], length
        # Chunks of PNG end with a checksum; those of RIFF begin at even bytes.
        file.seek(place + length + (4 if is_png else length % 2))


def _vp8x_size(raw: bytes) -> tuple[int, int]:
    return (
        1 + int.from_bytes(raw[4:7], "little"),
        1 + int.from_bytes(raw[7:10], "little"),
    )


def _vp8_size(raw: bytes) -> tuple[int, int]:
    width, height = struct.unpack("<HH", raw[6:10])
    return width & 0x3FFF, height & 0x3FFF


def _vp8l_size(raw: bytes) -> tuple[int, int]:
    bits = int.from_bytes(raw[1:5], "little")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


_MOST_EXIF_BYTES = 1 << 16
_WEBP_SIZES = {b"VP8X": _vp8x_size, b"VP8 ": _vp8_size, b"VP8L": _vp8l_size}
_READERS = {"PNG": _png_form, "TIFF": _tiff_form, "WEBP": _webp_form}
