"""The samples of an image as its file has them, decoded by the library that is exact for it.

OpenCV and tifffile read what Pillow would cut to 8 bits: colour of 16 bits, whole numbers
of 32 bits, floats.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageCms

from medvit.errors import ReadError
from medvit.io.images.form import BROKEN_IMAGE_ERRORS, Form, opened_by_pillow, read_form
from medvit.io.images.tiff_pages import TiffPage
from medvit.io.os_errors import is_system_error, unreadable

Values = npt.NDArray[Any]

FLOAT_BITS = 32
"""Bits of a floating-point image."""

GREY16_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
"""Pillow's names of grey with up to 16 bits."""

_ALPHA_MODES = frozenset({"LA", "PA", "La", "RGBA", "RGBa"})


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The pixels of an image in the numbers of its file.

    Attributes:
        values: `(y, x)` grey or `(y, x, 3)` colour; unsigned 8, 16 or 32 bits, or float32.
        bits: Bits in use.
        full_scale: The value that is 1 in the image as models see it.
    """

    values: Values
    bits: int
    full_scale: float


def read_samples(path: Path, form: Form | None = None) -> Samples:
    """Decode an image, upright and its transparent pixels over black.

    Raises:
        ReadError: `truncated`, `undecodable`, `bad_value`, `too_large` or `unreadable`.
    """
    form = form or read_form(path)
    try:
        values = _decode(path, form)
    except (OSError, *BROKEN_IMAGE_ERRORS, RuntimeError) as error:
        if is_system_error(error):
            raise unreadable(path, error) from error
        raise _broken(path, error) from error
    except MemoryError as error:
        msg = f"{path.name}: {form.width}x{form.height} pixels need more memory than there is"
        raise ReadError(msg, reason="too_large", hint="cut it into parts") from error
    samples = _scaled(path, values)
    return replace(samples, values=np.ascontiguousarray(_upright(samples.values, form.orientation)))


def bits_in_use(largest: int) -> int:
    """Return the bits that a camera of more than 8 bits seems to use, at least 8.

    Examples:
        >>> bits_in_use(4000), bits_in_use(200), bits_in_use(65535), bits_in_use(256)
        (12, 8, 16, 9)
    """
    return max(8, math.ceil(math.log2(largest + 1)))


def _decode(path: Path, form: Form) -> Values:
    if form.page is not None:
        return _decode_tiff(path, form.page)
    if form.format == "PNG" and form.png_type[0] == 16 and form.png_type[1] != 0:
        return _over_black(_by_opencv(path.read_bytes()))
    with opened_by_pillow(path, path.name, form.format) as image:
        return by_pillow(image)


def _decode_tiff(path: Path, page: TiffPage) -> Values:
    raw = bytearray(path.read_bytes())
    if page.orientation_place:
        # Pillow 13 scrambles uncompressed pages of orientation 5 to 8: none is turned
        # by the libraries, all are here.
        raw[page.orientation_place : page.orientation_place + 2] = (
            b"\x01\0" if raw[:2] == b"II" else b"\0\x01"
        )
    if not _is_deep(page):
        with opened_by_pillow(io.BytesIO(raw), path.name, "TIFF") as image:
            image.seek(page.number)
            return by_pillow(image)
    if page.photometric > 2:
        msg = f"TIFF colours of kind {page.photometric} with {page.bits} bits"
        raise NotImplementedError(msg)
    is_usual = (
        not page.is_planar and page.samples != 2 and (page.bits, page.sample_format) != (16, 3)
    )
    values = _by_opencv(raw, page.number) if is_usual else _by_tifffile(raw, page)
    kind = {1: "u", 2: "i", 3: "f"}.get(page.sample_format, "")
    held = (values.dtype.kind, values.dtype.itemsize * 8, values.size)
    if held != (kind, page.bits, page.width * page.height * page.samples):
        msg = f"{values.size} samples of {values.dtype}, {page.bits} bits of kind {kind} expected"
        raise ValueError(msg)
    return _over_black(_black_is_zero(values, page))


def _is_deep(page: TiffPage) -> bool:
    """Return whether Pillow would change the numbers of a page."""
    if page.bits > 8 and (page.samples > 1 or page.photometric == 0):
        return True
    return page.bits > 16 or page.sample_format not in (1, 4)


def _by_opencv(raw: bytes | bytearray, page: int = 0) -> Values:
    cv2 = import_module("cv2")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    packed = np.frombuffer(raw, np.uint8)
    try:
        if page:
            _, pages = cv2.imdecodemulti(packed, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
            found = pages[0] if pages else None
        else:
            found = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        msg = "OpenCV gave up"
        raise ValueError(msg) from error
    if found is None:
        msg = "OpenCV gave nothing"
        raise ValueError(msg)
    values: Values = found
    # OpenCV's colours are blue, green, red.
    return values if values.ndim == 2 else values[:, :, [2, 1, 0, 3][: values.shape[2]]]


def _by_tifffile(raw: bytes | bytearray, page: TiffPage) -> Values:
    values: Values = import_module("tifffile").imread(io.BytesIO(raw), key=page.number)
    return np.moveaxis(values, 0, -1) if page.is_planar and values.ndim == 3 else values


def _black_is_zero(values: Values, page: TiffPage) -> Values:
    if page.photometric != 0:
        return values
    if values.dtype.kind != "u":
        msg = f"white is zero in numbers of kind {values.dtype}"
        raise NotImplementedError(msg)
    return np.subtract(np.iinfo(values.dtype).max, values, dtype=values.dtype)


def _over_black(values: Values) -> Values:
    """Lay grey or colour with opacity, the last channel, over black."""
    if values.ndim == 2 or values.shape[2] == 3:
        return values
    colour, opacity = values[:, :, :-1], values[:, :, -1:]
    full = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    laid = np.rint if values.dtype.kind != "f" else np.asarray
    shown: Values = laid(colour * (opacity / full)).astype(values.dtype)
    return shown[:, :, 0] if shown.shape[2] == 1 else shown


def by_pillow(image: Image.Image) -> Values:
    """Return the samples of an image that Pillow opened: grey or RGB, over black."""
    image.load()
    if image.mode in GREY16_MODES:
        return np.asarray(image)
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for an inverted one; Adobe's alone are.
        image = ImageChops.invert(image)
    if image.mode == "LAB":
        image = _from_lab(image)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.new("RGBA", over.size, (0, 0, 0, 255))
        image.alpha_composite(over)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _from_lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    turned = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    if turned is None:
        msg = "no transform from LAB"
        raise ValueError(msg)
    return turned


def _scaled(path: Path, values: Values) -> Samples:
    """Choose what is white: see `medvit.io.images.raster.decode_image` for the rule."""
    if values.dtype == np.uint8:
        return Samples(values, 8, 255.0)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        broken = np.count_nonzero(~np.isfinite(values))
        msg = f"{path.name}: {broken} of {values.size} samples are no number"
        raise ReadError(msg, reason="bad_value", hint="fill them in and save it again")
    smallest, largest = float(values.min()), float(values.max())
    if smallest < 0 or largest >= 2.0**32:
        msg = f"{path.name}: samples from {smallest:g} to {largest:g}, 0 to {2**32 - 1} can be read"
        raise ReadError(msg, reason="bad_value", hint="shift or scale them and save it again")
    if values.dtype.kind == "f":
        bits = bits_in_use(math.ceil(largest))
        full_scale = 1.0 if largest <= 1 else 2.0**bits - 1
        return Samples(values.astype(np.float32), FLOAT_BITS, full_scale)
    bits = bits_in_use(int(largest))
    return Samples(values.astype(np.uint16 if bits <= 16 else np.uint32), bits, 2.0**bits - 1)


def _upright(values: Values, orientation: int) -> Values:
    """Turn and mirror an image as EXIF says (CIPA DC-008, Orientation)."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return values[rows, columns]


def _broken(path: Path, error: BaseException) -> ReadError:
    is_cut = "truncated" in str(error)
    what = "the file ends before its pixels do" if is_cut else "the pixels cannot be decoded"
    if isinstance(error, NotImplementedError):
        what = f"{error} are not read"
    reason = "truncated" if is_cut else "undecodable"
    hint = "save or copy it again, as PNG or TIFF with 8 or 16 bits"
    return ReadError(f"{path.name}: {what}", reason=reason, hint=hint)
