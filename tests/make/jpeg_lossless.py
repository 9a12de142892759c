"""A JPEG lossless encoder, written from the standard for tests: slow, plain, one component."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_CODE_BITS = 5
_CATEGORIES = 17


def encode_jpeg_lossless(
    pixels: npt.NDArray[np.integer], *, bits: int, predictor: int = 1
) -> bytes:
    """Return the codestream of `(y, x)` unsigned values (ITU-T T.81, annex H).

    Args:
        pixels: Values below `2**bits`.
        bits: Sample precision, 2 to 16.
        predictor: 1 left, 2 above, 4 left + above - corner.
    """
    height, width = pixels.shape
    table = bytes([0, 0, 0, 0, _CATEGORIES, *[0] * 11, *range(_CATEGORIES)])
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, struct.pack(">BHHB3B", bits, height, width, 1, 1, 0x11, 0)),
            _segment(0xC4, b"\0" + table),
            _segment(0xDA, bytes([1, 1, 0, predictor, 0, 0])),
            _packed(_codes(pixels.astype(int), bits, predictor)),
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _codes(pixels: npt.NDArray[np.int_], bits: int, predictor: int) -> Iterator[str]:
    for (y, x), value in np.ndenumerate(pixels):
        difference = (int(value) - _predicted(pixels, y, x, bits, predictor)) & 0xFFFF
        difference -= 0x10000 if difference > 0x8000 else 0
        category = abs(difference).bit_length()
        yield format(category, f"0{_CODE_BITS}b")
        if 0 < category < 16:
            low = difference if difference > 0 else difference + (1 << category) - 1
            yield format(low, f"0{category}b")


def _predicted(pixels: npt.NDArray[np.int_], y: int, x: int, bits: int, predictor: int) -> int:
    if y == x == 0:
        return 1 << (bits - 1)
    if y == 0:
        return int(pixels[0, x - 1])
    if x == 0:
        return int(pixels[y - 1, 0])
    left, above, corner = pixels[y, x - 1], pixels[y - 1, x], pixels[y - 1, x - 1]
    return int({1: left, 2: above, 4: left + above - corner}[predictor])


def _packed(codes: Iterator[str]) -> bytes:
    text = "".join(codes)
    text += "1" * (-len(text) % 8)
    raw = int(text, 2).to_bytes(len(text) // 8, "big")
    return raw.replace(b"\xff", b"\xff\0")
