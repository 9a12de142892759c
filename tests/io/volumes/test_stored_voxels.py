from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medvit.errors import ReadError
from medvit.io.chunk_cache import ChunkCache
from medvit.io.volumes import stored_voxels
from medvit.io.volumes.formats import judge_volume_file, open_volume_file
from medvit.io.volumes.grid import StoredHeader
from medvit.io.volumes.stored_voxels import (
    CachedVoxels,
    PlainVoxels,
    StreamedVoxels,
    TemporaryVoxels,
    Voxels,
    voxels_of,
)
from medvit.io.volumes.voxel_file import VoxelFile, stamp_of
from tests.make.volumes import HU, write_nrrd

HEADER = StoredHeader(Path("a.nii"), (7, 6, 5), np.dtype("<i2"), np.eye(4))
ALL = (range(5), slice(0, 6), slice(0, 7))


def file_at(path: Path, packing: str = "", start: int = 0, offset: int = 0) -> VoxelFile:
    with path.open("rb") as file:
        stamp = stamp_of(file)
    return VoxelFile(path, "deflate" if packing else "", start, offset, stamp)


def all_of(voxels: Voxels) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.stack(list(voxels.planes(*ALL)))


@pytest.fixture
def plain(tmp_path: Path) -> VoxelFile:
    (tmp_path / "v.raw").write_bytes(b"ABC" + HU.tobytes())
    return file_at(tmp_path / "v.raw", start=3)


@pytest.fixture
def packed(tmp_path: Path) -> VoxelFile:
    (tmp_path / "v.gz").write_bytes(b"ABC" + gzip.compress(b"DE" + HU.tobytes()))
    return file_at(tmp_path / "v.gz", "deflate", start=3, offset=2)


@pytest.fixture(params=["plain", "streamed", "temporary", "cached", "short of room"])
def voxels(
    request: pytest.FixtureRequest, tmp_path: Path, plain: VoxelFile, packed: VoxelFile
) -> Voxels:
    ways: dict[str, Callable[[], Voxels]] = {
        "plain": lambda: voxels_of(HEADER, plain, None),
        "streamed": lambda: StreamedVoxels(HEADER, packed),
        "temporary": lambda: voxels_of(HEADER, packed, None),
        "cached": lambda: voxels_of(HEADER, packed, ChunkCache(tmp_path / "c")),
        "short of room": lambda: voxels_of(HEADER, packed, ChunkCache(tmp_path / "c", max_bytes=9)),
    }
    return ways[request.param]()


@pytest.mark.parametrize("planes_a_chunk", [1, 2, 5])
def test_every_way_gives_the_same_parts_of_planes(
    voxels: Voxels, planes_a_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_voxels, "PIECE_BYTES", planes_a_chunk * HEADER.plane_bytes)
    np.testing.assert_array_equal(all_of(voxels), HU)
    part = np.stack(list(voxels.planes([1, 3, 4], slice(2, 5), slice(1, 7))))
    np.testing.assert_array_equal(part, HU[[1, 3, 4], 2:5, 1:7])


def test_the_way_follows_packing_and_room(
    tmp_path: Path, plain: VoxelFile, packed: VoxelFile
) -> None:
    roomy, tight = (ChunkCache(tmp_path, max_bytes=size) for size in (10**6, HU.nbytes))
    assert isinstance(voxels_of(HEADER, plain, roomy), PlainVoxels)
    assert isinstance(voxels_of(HEADER, packed, roomy), CachedVoxels)
    for cache in (None, tight):
        assert isinstance(voxels_of(HEADER, packed, cache), TemporaryVoxels)


def test_unpacked_chunks_serve_a_second_reader(tmp_path: Path, packed: VoxelFile) -> None:
    cache = ChunkCache(tmp_path / "c")
    second = voxels_of(HEADER, packed, cache)
    all_of(voxels_of(HEADER, packed, cache))
    packed.path.unlink()  # whoever unpacked again would miss it
    np.testing.assert_array_equal(all_of(second), HU)


def test_an_evicted_volume_is_unpacked_again(tmp_path: Path, packed: VoxelFile) -> None:
    cache = ChunkCache(tmp_path / "c")
    voxels = voxels_of(HEADER, packed, cache)
    all_of(voxels)
    for entry in (tmp_path / "c").glob("*/*"):
        entry.unlink()
    np.testing.assert_array_equal(all_of(voxels), HU)
    assert cache.held_bytes() > HU.nbytes


def test_a_cache_that_keeps_nothing_gives_way_to_a_temporary_file(
    tmp_path: Path, packed: VoxelFile
) -> None:
    (tmp_path / "c").write_text("no folder")
    voxels = voxels_of(HEADER, packed, ChunkCache(tmp_path / "c"))
    np.testing.assert_array_equal(all_of(voxels), HU)
    packed.path.unlink()
    np.testing.assert_array_equal(all_of(voxels), HU)


def test_chunks_of_a_stream_that_ends_badly_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_voxels, "PIECE_BYTES", HEADER.plane_bytes)
    raw = bytearray(gzip.compress(HU.tobytes()))
    raw[-6] ^= 1  # in the check sum
    (tmp_path / "v.gz").write_bytes(raw)
    cache = ChunkCache(tmp_path / "c")
    for _ in range(2):
        voxels = voxels_of(HEADER, file_at(tmp_path / "v.gz", "deflate"), cache)
        with pytest.raises(ReadError) as caught:
            all_of(voxels)
        assert caught.value.reason == "truncated"
        assert cache.held_bytes() == 0


@pytest.mark.parametrize("kind", ["plain", "packed"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: os.truncate(path, 100), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "unreadable"),
        (lambda path: os.utime(path, (1, 1)), "unreadable"),
        (lambda path: path.unlink(), "unreadable"),
    ],
)
def test_a_file_that_changes_after_its_header_was_read_is_noticed(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kind: str,
    change: Callable[[Path], None],
    reason: str,
) -> None:
    file: VoxelFile = request.getfixturevalue(kind)
    caches = (None, ChunkCache(tmp_path / "c"))
    ways = [voxels_of(HEADER, file, cache) for cache in caches]
    change(file.path)
    for voxels in ways:
        with pytest.raises(ReadError) as caught:
            all_of(voxels)
        assert caught.value.reason == reason


def test_a_file_that_shrinks_between_two_planes_ends_in_an_error(plain: VoxelFile) -> None:
    planes = voxels_of(HEADER, plain, None).planes(*ALL)
    np.testing.assert_array_equal(next(planes), HU[0])
    os.truncate(plain.path, 100)
    with pytest.raises(ReadError) as caught:
        list(planes)
    assert caught.value.reason == "truncated"


def test_only_the_rows_of_a_box_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_nrrd(tmp_path / "a.nrrd")
    volume = open_volume_file(path)
    counts: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *a: counts.append(a[1]) or pread(*a))  # type: ignore[func-returns-value]
    box = (slice(1, 3), slice(2, 4), slice(0, 1))
    np.testing.assert_array_equal(volume.read(*box), HU[box])
    assert counts == [2 * 7 * 2] * 2


def test_opening_looks_at_a_few_planes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = np.repeat(HU, 20, axis=0)
    path = write_nrrd(tmp_path / "a.nrrd", deep)
    counts: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *a: counts.append(a[1]) or pread(*a))  # type: ignore[func-returns-value]
    judge_volume_file(path)
    assert sum(counts) == 5 * HEADER.plane_bytes
