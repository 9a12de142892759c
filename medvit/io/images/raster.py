"""Surface images: what a file holds, and its pixels as models see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medvit.errors import ReadError
from medvit.io.decoding.process import Job, decoder
from medvit.io.images.form import Form, read_form
from medvit.io.images.samples import Samples, bits_in_use, read_samples

__all__ = ["ImageLook", "RasterImage", "bits_in_use", "decode_image", "inspect_image"]

MAX_PIXELS = 1 << 26
"""Most pixels of an image (8192x8192): 805 MB as float32 colour, and the decoding process
needs up to twice that of the 2 GiB that it has."""

MIN_SIDE = 8
"""Shortest side of an image that shows anything."""

_WIDEST_SAMPLE_BYTES = 4


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
        bits: Bits in use: 8, as many as the largest value needs where samples have more
            than 8, or 32 for floats.
    """

    pixels: npt.NDArray[np.float32]
    bits: int


def inspect_image(path: Path) -> ImageLook:
    """Return the size of an image without decoding it.

    Raises:
        ReadError: `not_an_image`, `unreadable`, `undecodable`, `too_large`, `too_small`
            or `wrong_dimensions`.
    """
    return _look_at(_checked_form(path))


def decode_image(path: Path, *, isolated: bool = False) -> RasterImage:
    """Return the pixels of an image, upright as its EXIF orientation says.

    Samples of more than 8 bits are scaled by the bits in use over all channels,
    `2**max(8, ceil(log2(max + 1))) - 1`, so that a 12-bit camera fills 0 to 1. Floats are
    taken as they are where none is above 1, otherwise as whole numbers are. Grey of which
    white is zero is inverted. A palette is resolved, CMYK and CIELAB are converted without
    regard to a colour profile, and transparent pixels are laid over black.

    Args:
        path: A PNG, JPEG, BMP, TIFF, GIF or WebP file, whatever its name says.
        isolated: Decode in a process of its own, as is right for a file of unknown
            origin: a crash or a runaway then spoils this one file.

    Raises:
        ReadError: As `inspect_image`, and `truncated`, `undecodable` or `bad_value`.
    """
    form = _checked_form(path)
    samples = _read_apart(path, form) if isolated else read_samples(path, form)
    values = samples.values.astype(np.float32) / np.float32(samples.full_scale)
    if values.ndim == 2:
        values = np.repeat(values[:, :, None], 3, axis=2)
    return RasterImage(values, samples.bits)


def _checked_form(path: Path) -> Form:
    form = read_form(path)
    size = f"{form.width}x{form.height} pixels"
    if form.width * form.height > MAX_PIXELS:
        msg = f"{path.name}: {size}, at most {MAX_PIXELS} can be read"
        raise ReadError(msg, reason="too_large", hint="cut it into parts")
    if min(form.width, form.height) < MIN_SIDE:
        msg = f"{path.name}: {size}, at least {MIN_SIDE} a side needed"
        raise ReadError(msg, reason="too_small", hint="leave it out")
    if form.frames > 1:
        msg = f"{path.name}: {form.frames} frames, one expected"
        raise ReadError(msg, reason="wrong_dimensions", hint="save the frames as single images")
    return form


def _look_at(form: Form) -> ImageLook:
    if form.is_lying:
        return ImageLook(form.height, form.width)
    return ImageLook(form.width, form.height)


def _read_apart(path: Path, form: Form) -> Samples:
    look, pixels = _look_at(form), form.width * form.height
    answer, body = decoder().ask(
        Job(
            name=path.name,
            pixels=pixels,
            head={"job": "image", "path": str(path.absolute())},
            body=b"",
            most_bytes=3 * _WIDEST_SAMPLE_BYTES * pixels,
        )
    )
    values = np.frombuffer(body, answer["dtype"]).reshape(answer["shape"])
    if values.shape[:2] != (look.height, look.width):
        msg = f"{path.name}: decoded to {values.shape[1]}x{values.shape[0]} pixels"
        hint = f"{look.width}x{look.height} expected; save it again"
        raise ReadError(msg, reason="undecodable", hint=hint)
    return Samples(values, int(answer["bits"]), float(answer["full_scale"]))
