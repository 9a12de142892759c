from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, integers, lists, sampled_from

from medvit.errors import ReadError
from medvit.io.volumes.unpacked import BLOCK_BYTES, Packing, Unpacked

PATH = Path("a.bin")
CONTENT = np.random.default_rng(7).integers(0, 40, 3 * BLOCK_BYTES + 11, np.uint8).tobytes()

PACKERS: dict[str, tuple[Packing, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "gzip": ("deflate", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bzip2": ("bzip2", bz2.compress),
    "members": ("deflate", lambda raw: gzip.compress(raw[:9]) + gzip.compress(raw[9:]) + bytes(5)),
    "streams": ("bzip2", lambda raw: bz2.compress(raw[:9]) + bz2.compress(raw[9:])),
}


def unpacked(raw: bytes, packing: Packing) -> Unpacked:
    return Unpacked(io.BytesIO(raw), PATH, packing)


@pytest.mark.parametrize("name", PACKERS)
def test_all_comes_out_and_then_nothing(name: str) -> None:
    packing, pack = PACKERS[name]
    stream = unpacked(pack(CONTENT), packing)
    assert stream.read(len(CONTENT) + 1) == CONTENT
    assert stream.position == len(CONTENT)
    assert stream.read(1) == b""


@settings(deadline=None, max_examples=30)
@given(content=binary(max_size=200), steps=lists(integers(1, 60)), name=sampled_from(list(PACKERS)))
def test_pieces_of_any_length_make_the_whole(content: bytes, steps: list[int], name: str) -> None:
    packing, pack = PACKERS[name]
    stream = unpacked(pack(content), packing)
    assert b"".join(stream.read(step) for step in [*steps, 201]) == content


def test_a_place_further_on_is_reached_by_reading(tmp_path: Path) -> None:
    stream = unpacked(gzip.compress(CONTENT), "deflate")
    stream.skip_to(BLOCK_BYTES + 3)
    assert stream.read_all(5) == CONTENT[BLOCK_BYTES + 3 :][:5]
    with pytest.raises(ReadError, match=r"a\.bin: the file ends before") as caught:
        stream.read_all(len(CONTENT))
    assert caught.value.reason == "truncated"


@pytest.mark.parametrize("name", ["gzip", "zlib", "bzip2"])
def test_a_stream_cut_anywhere_is_truncated(name: str) -> None:
    packing, pack = PACKERS[name]
    raw = pack(CONTENT[:100])
    for length in range(len(raw)):
        with pytest.raises(ReadError) as caught:
            unpacked(raw[:length], packing).read(101)
        assert caught.value.reason == "truncated"


@pytest.mark.parametrize("name", ["gzip", "zlib", "bzip2"])
def test_an_altered_byte_does_not_pass_the_check_sum(name: str) -> None:
    packing, pack = PACKERS[name]
    raw = bytearray(pack(CONTENT[:100]))
    raw[len(raw) // 2] ^= 0x10
    with pytest.raises(ReadError) as caught:
        unpacked(bytes(raw), packing).read(101)
    assert caught.value.reason == "truncated"


def test_a_bomb_is_unpacked_no_further_than_asked() -> None:
    bomb = zlib.compress(bytes(64 * 1024 * 1024), 9)
    file = io.BytesIO(bomb * 40)
    assert Unpacked(file, PATH, "deflate").read(10) == bytes(10)
    assert file.tell() <= BLOCK_BYTES
