from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis.strategies import binary

from medvit.io.images.tiff_pages import MOST_PAGES, TiffPage, main_pages, read_pages

GREY = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)


def page(number: int, width: int, height: int, *, is_secondary: bool = False) -> TiffPage:
    return TiffPage(
        number=number,
        width=width,
        height=height,
        bits=8,
        samples=1,
        photometric=1,
        sample_format=1,
        is_planar=False,
        orientation=1,
        orientation_place=0,
        is_secondary=is_secondary,
        images=1,
    )


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_page_says_what_was_written(
    tmp_path: Path, byteorder: Literal["<", ">"], bigtiff: bool
) -> None:
    path = tmp_path / "a.tif"
    values = np.zeros((3, 24, 32), np.uint16)
    tifffile.imwrite(
        path,
        values,
        photometric="rgb",
        planarconfig="separate",
        byteorder=byteorder,
        bigtiff=bigtiff,
        extratags=[(274, "H", 1, 6, True)],
    )
    (found,) = read_pages(path)
    assert (found.width, found.height, found.bits, found.samples) == (32, 24, 16, 3)
    assert (found.photometric, found.sample_format, found.is_planar) == (2, 1, True)
    assert (found.orientation, found.is_secondary, found.images) == (6, False, 1)
    place = found.orientation_place
    assert struct.unpack(f"{byteorder}H", path.read_bytes()[place : place + 2]) == (6,)


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([page(0, 32, 24)], [0]),
        ([page(0, 32, 24), page(1, 16, 12), page(2, 8, 6)], [0]),
        ([page(0, 33, 25), page(1, 16, 12)], [0]),
        ([page(0, 32, 24), page(1, 32, 24)], [0, 1]),
        ([page(0, 32, 24), page(1, 16, 20)], [0, 1]),
        ([page(0, 16, 12, is_secondary=True), page(1, 32, 24)], [1]),
        ([page(0, 64, 48, is_secondary=True), page(1, 32, 24)], [1]),
        ([page(0, 32, 24, is_secondary=True)], [0]),
    ],
)
def test_images_of_their_own_are_told_from_copies(
    pages: list[TiffPage], expected: list[int]
) -> None:
    assert [found.number for found in main_pages(pages)] == expected


def test_pages_in_a_circle_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY)
    raw = bytearray(path.read_bytes())
    start = struct.unpack("<L", raw[4:8])[0]
    count = struct.unpack_from("<H", raw, start)[0]
    struct.pack_into("<L", raw, start + 2 + 12 * count, start)
    path.write_bytes(bytes(raw))
    assert len(read_pages(path)) == 1


def test_a_chain_of_many_pages_is_followed_only_so_far(tmp_path: Path) -> None:
    # A page of no entries takes 6 bytes: one file of 6 MB can hold a million of them.
    count = 200_000
    pages = b"".join(struct.pack("<HL", 0, 8 + 6 * (n + 1)) for n in range(count))
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<L", 8) + pages)
    started = time.monotonic()
    assert len(read_pages(path)) == MOST_PAGES + 1
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"II*\0" + struct.pack("<L", 9999), "no page"),
        (b"II*\0" + struct.pack("<LH", 8, 60_000) + bytes(99), "no page"),
        (b"II*\0\0\0", "no TIFF"),
        (b"II+\0" + bytes(8), "ends in its header"),
        (b"PK\3\4" + bytes(12), "no TIFF"),
    ],
)
def test_a_file_without_a_page_is_told(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "a.tif").write_bytes(raw)
    with pytest.raises(ValueError, match=words):
        read_pages(tmp_path / "a.tif")


@pytest.mark.slow
@given(tail=binary(max_size=120))
def test_no_bytes_at_all_lead_astray(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "astray.tif"
    for start in (b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0" + bytes(7) + b"\x10"):
        path.write_bytes(start + tail)
        try:
            found = read_pages(path)
        except ValueError:
            continue
        assert all(1 <= one.orientation <= 8 for one in found)
