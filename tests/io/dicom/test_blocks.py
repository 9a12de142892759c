from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, tuples
from pydicom.uid import RLELossless

from medvit.errors import ReadError
from medvit.io.chunk_cache import ChunkCache, chunk_key
from medvit.io.dicom import blocks
from medvit.io.dicom.blocks import CHUNK_SCHEME, block_reader, read_slice_hu
from medvit.io.dicom.header import SliceHeader, read_header
from medvit.io.dicom.pixels import read_rows, read_stored
from medvit.io.planes import Plane
from tests.make.dicom import CtSeries, compressed_slice, edit, ramp, write_series

BOUNDS = tuples(integers(0, 16), integers(0, 16)).map(sorted)
FULL = (slice(0, 1), slice(0, 64), slice(0, 64))
PACKED_HU = ramp((1, 64, 64))


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> list[SliceHeader]:
    return [read_header(path) for path in write_series(tmp_path_factory.mktemp("series"))]


@pytest.fixture
def packed(tmp_path: Path) -> SliceHeader:
    return read_header(compressed_slice(tmp_path / "packed.dcm", RLELossless))


@settings(deadline=None)
@given(y=BOUNDS, x=BOUNDS)
def test_any_rows_and_columns_equal_the_values_written(
    headers: list[SliceHeader], y: list[int], x: list[int]
) -> None:
    box = (slice(1, 4), slice(*y), slice(min(x[0], 12), min(x[1], 12)))
    np.testing.assert_array_equal(block_reader(headers)(*box), CtSeries().hu[box])


def test_of_a_plain_slice_only_the_rows_asked_for_are_read(
    headers: list[SliceHeader], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[slice] = []

    def noted(header: SliceHeader, rows: slice) -> Plane:
        asked.append(rows)
        return read_rows(header, rows)

    monkeypatch.setattr(blocks, "read_rows", noted)
    block_reader(headers)(slice(2, 4), slice(5, 7), slice(0, 3))
    assert asked == [slice(5, 7), slice(5, 7)]


def test_an_empty_box_opens_no_file(headers: list[SliceHeader]) -> None:
    gone = [replace(headers[0], path=Path("gone.dcm"))]
    found = block_reader(gone)(slice(0, 1), slice(3, 3), slice(0, 12))
    assert found.shape == (1, 0, 12)


def test_hu_of_a_slice_are_exact_in_double_precision(tmp_path: Path) -> None:
    path = edit(write_series(tmp_path)[0], RescaleSlope="0.1", RescaleIntercept="-1000.3")
    stored = CtSeries().hu[0].astype(np.float64) + 1024
    np.testing.assert_array_equal(read_slice_hu(read_header(path)), stored * 0.1 - 1000.3)


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    decoded: list[str] = []

    def noted(header: SliceHeader) -> Plane:
        decoded.append(header.path.name)
        return read_stored(header)

    monkeypatch.setattr(blocks, "read_stored", noted)
    return decoded


def test_a_compressed_slice_is_decoded_once_for_many_boxes(
    packed: SliceHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoding(monkeypatch)
    read = block_reader([packed])
    for start in (0, 10, 20):
        box = (slice(0, 1), slice(start, start + 9), slice(3, 60))
        np.testing.assert_array_equal(read(*box), PACKED_HU[box])
    assert decoded == ["packed.dcm"]


def test_without_room_in_memory_it_is_decoded_anew(
    packed: SliceHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoding(monkeypatch)
    read = block_reader([packed], cache_bytes=0)
    for _ in range(2):
        np.testing.assert_array_equal(read(*FULL), PACKED_HU)
    assert len(decoded) == 2


def test_what_was_decoded_lies_in_the_cache_for_the_next_reader(
    packed: SliceHeader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoding(monkeypatch)
    cache = ChunkCache(tmp_path / "cache")
    for _ in range(2):
        np.testing.assert_array_equal(block_reader([packed], cache=cache)(*FULL), PACKED_HU)
    assert decoded == ["packed.dcm"]
    kept = cache.get(chunk_key(packed.path, scheme=CHUNK_SCHEME), 0)
    assert kept is not None
    np.testing.assert_array_equal(kept + packed.intercept, PACKED_HU[0])


def test_plain_slices_leave_nothing_in_the_cache(
    headers: list[SliceHeader], tmp_path: Path
) -> None:
    cache = ChunkCache(tmp_path / "cache")
    block_reader(headers, cache=cache)(slice(0, 5), slice(0, 16), slice(0, 12))
    assert cache.held_bytes() == 0


def test_a_compressed_slice_that_went_away_is_named(packed: SliceHeader, tmp_path: Path) -> None:
    packed.path.unlink()
    for cache in (None, ChunkCache(tmp_path / "cache")):
        with pytest.raises(ReadError, match=r"packed\.dcm") as caught:
            block_reader([packed], cache=cache)(*FULL)
        assert caught.value.reason == "unreadable"
