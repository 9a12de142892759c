"""Small surface images, sound and broken."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def grey(height: int = 24, width: int = 32) -> npt.NDArray[np.uint8]:
    """Return an 8-bit ramp `(y, x)` that tells rows and columns apart."""
    return (np.arange(height)[:, None] * 7 + np.arange(width)).astype(np.uint8)


def write_image(path: Path, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Path:
    """Write `(y, x)` or `(y, x, 3)` pixels; the suffix of the path gives the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_lying(path: Path, pixels: npt.NDArray[np.uint8]) -> Path:
    """Write a PNG whose EXIF says: turn by a quarter, clockwise, to see it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def write_bomb(path: Path, *, side: int = 20_000) -> Path:
    """Write a PNG of a few hundred bytes that claims `side` squared pixels."""
    Image.new("1", (8, 8)).save(path, format="PNG")
    raw = bytearray(path.read_bytes())
    raw[16:24] = side.to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(bytes(raw[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(raw))
    return path
