from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, integers
from numcodecs import LZ4, Blosc, Zstd  # type: ignore[import-untyped]

from medvit.io.volumes.chunk_frames import (
    ZSTD_BLOCK_BYTES,
    blosc_bytes,
    inflate,
    lz4_bytes,
    zstd_bytes,
)

SHAPES: dict[str, Any] = {
    "nothing": b"",
    "zeros": bytes(700_000),
    "noise": np.random.default_rng(3).bytes(700_000),
    "mixed": np.random.default_rng(4).bytes(200_000) + bytes(300_000) + b"abc" * 70_000,
    "short": b"abc",
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_length_of_a_frame_is_told(name: str) -> None:
    content = SHAPES[name]
    for codec in ("lz4", "zstd", "blosclz"):
        assert blosc_bytes(bytes(Blosc(codec).encode(content))) == len(content)
    if content:
        assert lz4_bytes(bytes(LZ4().encode(content))) == len(content)


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_zstandard_is_bounded_from_above_and_not_by_much(
    name: str, level: int, checksum: bool
) -> None:
    content = SHAPES[name]
    frame = bytes(Zstd(level, checksum).encode(content))
    skipped = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"12345"
    for raw, times in ((frame, 1), (frame + skipped + frame, 2)):
        bound = zstd_bytes(raw)
        assert times * len(content) <= bound <= times * (len(content) + 9 * ZSTD_BLOCK_BYTES)


@settings(deadline=None)
@given(content=binary(max_size=60), at=integers(0, 80), piece=binary(max_size=5))
def test_damaged_frames_end_in_a_number_or_a_value_error(
    content: bytes, at: int, piece: bytes
) -> None:
    ways: list[tuple[Any, Callable[[bytes], int]]] = [
        (Zstd(1), zstd_bytes),
        (Blosc("lz4"), blosc_bytes),
        (LZ4(), lz4_bytes),
    ]
    for codec, length_of in ways:
        raw = bytes(codec.encode(content or b"x"))
        raw = raw[:at] + piece + raw[at + len(piece) :]
        with suppress(ValueError):
            assert length_of(raw) >= 0


@pytest.mark.parametrize("cut", [0, 3, 5, 12])
def test_a_frame_cut_short_is_told(cut: int) -> None:
    for codec, length_of in ((Zstd(1), zstd_bytes), (Blosc("lz4"), blosc_bytes)):
        raw = bytes(codec.encode(b"abcdef" * 9))
        if cut or length_of is blosc_bytes:
            with pytest.raises(ValueError, match="bytes"):
                length_of(raw[:cut])
    with pytest.raises(ValueError, match="LZ4 chunk of 3 bytes"):
        lz4_bytes(b"abc")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("name", SHAPES)
def test_streams_come_out_whole_or_not_at_all(name: str, pack: Callable[[bytes], bytes]) -> None:
    content = SHAPES[name]
    raw = pack(content)
    assert inflate(raw, most_bytes=len(content) + 1) == content
    with pytest.raises(ValueError, match=f"breaks off after {len(raw) - 5} bytes"):
        inflate(raw[:-5], most_bytes=len(content) + 1)
    if len(content) > 1000:
        with pytest.raises(ValueError, match="unpacks to more than 1000"):
            inflate(raw, most_bytes=1000)
