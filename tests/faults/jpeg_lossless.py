"""A JPEG lossless encoder, for want of a permissive one (ITU-T T.81, annex H, process 14)."""

from __future__ import annotations

import numpy as np

from tests.faults.scan import Values

_LENGTHS = (0, 0, 0, 0, 17)
"""Huffman codes by length, from 1: all 17 categories get codes of five bits."""


def encode_jpeg_lossless(words: Values, *, bits: int = 16) -> bytes:
    """Return a codestream of one component, predicted from the left (selection value 1)."""
    rows, columns = words.shape
    body = _bits_of(_differences(words.astype(np.int64), bits))
    table = bytes([0, *(_LENGTHS + (0,) * (16 - len(_LENGTHS))), *range(17)])
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xC4, table),
            _segment(0xC3, bytes([bits, *_two(rows), *_two(columns), 1, 1, 0x11, 0])),
            _segment(0xDA, bytes([1, 1, 0, 1, 0, 0])),
            body.replace(b"\xff", b"\xff\0"),
            b"\xff\xd9",
        )
    )


def _differences(words: Values, bits: int) -> list[int]:
    """Return what every sample adds to its neighbour, modulo 65536, from -32767 to 32768."""
    before = np.empty_like(words)
    before[:, 1:] = words[:, :-1]
    before[1:, 0] = words[:-1, 0]
    before[0, 0] = 1 << (bits - 1)
    modulo = (words - before) & 0xFFFF
    return np.where(modulo > 0x8000, modulo - 0x10000, modulo).ravel().tolist()


def _bits_of(differences: list[int]) -> bytes:
    parts = []
    for difference in differences:
        category = abs(difference).bit_length()
        parts.append(f"{category:05b}")
        if 0 < category < 16:
            value = difference if difference > 0 else difference + (1 << category) - 1
            parts.append(f"{value:0{category}b}")
    text = "".join(parts)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker, *_two(len(body) + 2)]) + body


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")
