"""Surface images: PNG, JPEG, BMP and TIFF with 8 or 16 bits a sample."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from medvit.errors import ReadError
from medvit.io.os_errors import is_system_error, unreadable
from medvit.io.quiet import silence_libraries

silence_libraries()

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")

MAX_PIXELS = 1 << 26
"""Most pixels of an image (8192x8192): 805 MB as float32 colour."""

MIN_SIDE = 8
"""Shortest side of an image that shows anything."""

EXIF_ORIENTATION = 0x0112

MODES_8_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"})
GREY16_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
"""Pillow's names of the pixel forms that are read; CMYK, Lab, HSV and float are not."""

_ALPHA_MODES = frozenset({"LA", "PA", "RGBA"})

_DECODE_ERRORS = (
    EOFError,
    MemoryError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class ImageLook:
    """What the header of an image says, after turning it upright."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class RasterImage:
    """The pixels of an image.

    Attributes:
        pixels: `(y, x, 3)` float32 in 0 to 1; a grey image has three equal channels.
        bits: Bits in use: 8, or for a 16-bit image as many as its largest value needs.
    """

    pixels: npt.NDArray[np.float32]
    bits: int


def inspect_image(path: Path) -> ImageLook:
    """Return the size of an image without decoding it.

    Raises:
        ReadError: `not_an_image`, `unreadable`, `too_large`, `too_small` or
            `wrong_dimensions`.
    """
    with _opened(path) as image:
        return _look_at(path, image)


def decode_image(path: Path) -> RasterImage:
    """Return the pixels of an image, upright as its EXIF orientation says.

    A 16-bit image is scaled by the bits in use, `2**max(8, ceil(log2(max + 1))) - 1`,
    so that a 12-bit camera fills 0 to 1. A palette is resolved; transparent pixels are
    laid over black.

    Raises:
        ReadError: As `inspect_image`, and `truncated` or `undecodable`.
    """
    with _opened(path) as image:
        _look_at(path, image)
        upright = _decoded(path, image)
    if upright.mode in GREY16_MODES:
        return _of_grey16(path, np.asarray(upright))
    return RasterImage(_of_8_bit(upright), bits=8)


def bits_in_use(largest: int) -> int:
    """Return the bits that a 16-bit camera seems to use, at least 8.

    Examples:
        >>> bits_in_use(4000), bits_in_use(200), bits_in_use(65535), bits_in_use(256)
        (12, 8, 16, 9)
    """
    return max(8, math.ceil(math.log2(largest + 1)))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        msg = f"{path.name}: more pixels than can be read (at most {MAX_PIXELS})"
        raise ReadError(msg, reason="too_large", hint="cut it into parts") from error
    except (OSError, *_DECODE_ERRORS) as error:
        if is_system_error(error):
            raise unreadable(path, error) from error
        raise _not_an_image(path) from error
    with image:
        yield image


def _not_an_image(path: Path) -> ReadError:
    is_empty = path.stat().st_size == 0
    what = "is empty" if is_empty else f"is none of {', '.join(FORMATS)}"
    msg = f"{path.name}: {what}"
    return ReadError(msg, reason="not_an_image", hint="save it again or leave it out")


def _look_at(path: Path, image: Image.Image) -> ImageLook:
    width, height = image.size
    if width * height > MAX_PIXELS:
        msg = f"{path.name}: {width}x{height} pixels, at most {MAX_PIXELS} can be read"
        raise ReadError(msg, reason="too_large", hint="cut it into parts")
    if min(width, height) < MIN_SIDE:
        msg = f"{path.name}: {width}x{height} pixels, at least {MIN_SIDE} a side needed"
        raise ReadError(msg, reason="too_small", hint="leave it out")
    _check_form(path, image)
    return ImageLook(height, width) if _is_lying(image) else ImageLook(width, height)


def _is_lying(image: Image.Image) -> bool:
    """Return whether EXIF turns the image by a quarter (orientation 5 to 8)."""
    if image.format == "PNG" and "exif" not in image.info:
        # Pillow would decode the pixels to look for an EXIF chunk behind them.
        return False
    try:
        return image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except (OSError, *_DECODE_ERRORS):
        return False


def _check_form(path: Path, image: Image.Image) -> None:
    try:
        frames = int(getattr(image, "n_frames", 1))
    except (OSError, *_DECODE_ERRORS) as error:
        raise _broken(path, error) from error
    # MPO is a JPEG photograph with a preview behind it; its first frame is the image.
    if frames > 1 and image.format != "MPO":
        msg = f"{path.name}: {frames} frames, one expected"
        raise ReadError(msg, reason="wrong_dimensions", hint="save the frames as single images")
    form = f"{image.mode} {getattr(image, 'tile', [])}"
    is_deep_colour = ";16" in form and image.mode not in GREY16_MODES
    if is_deep_colour or image.mode not in MODES_8_BIT | GREY16_MODES:
        depth = " of 16 bits" if is_deep_colour else ""
        msg = f"{path.name}: pixels of form {image.mode}{depth} are not read"
        hint = "save it as 8 or 16 bit grey, or as 8 bit RGB"
        raise ReadError(msg, reason="undecodable", hint=hint)


def _decoded(path: Path, image: Image.Image) -> Image.Image:
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except (OSError, *_DECODE_ERRORS) as error:
        if is_system_error(error):
            raise unreadable(path, error) from error
        raise _broken(path, error) from error


def _broken(path: Path, error: BaseException) -> ReadError:
    is_cut = "truncated" in str(error)
    what = "the file ends before its pixels do" if is_cut else "the pixels cannot be decoded"
    reason = "truncated" if is_cut else "undecodable"
    msg = f"{path.name}: {what}"
    return ReadError(msg, reason=reason, hint="save or copy it again")


def _of_grey16(path: Path, values: npt.NDArray[np.integer[npt.NBitBase]]) -> RasterImage:
    largest, smallest = int(values.max()), int(values.min())
    if smallest < 0 or largest > 0xFFFF:
        msg = f"{path.name}: values from {smallest} to {largest} are no 16-bit image"
        raise ReadError(msg, reason="bad_value", hint="save it as 16 bit without sign")
    bits = bits_in_use(largest)
    grey = values.astype(np.float32) / np.float32(2**bits - 1)
    return RasterImage(np.repeat(grey[:, :, None], 3, axis=2), bits)


def _of_8_bit(image: Image.Image) -> npt.NDArray[np.float32]:
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        over = image.convert("RGBA")
        black = Image.new("RGBA", over.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, over)
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return pixels / np.float32(255)
