from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, sampled_from, tuples

from medvit.io.chunk_cache import HEADER_BYTES, ChunkCache, chunk_key
from tests.make.chunks import KEYS, chunk_of

ONE = HEADER_BYTES + chunk_of(KEYS[0], 0).nbytes
A, B, C = KEYS[:3]


def age(folder: Path, key: str, seconds: int) -> None:
    os.utime(folder / key, (seconds, seconds))


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", "<f4", ">f8", "bool"])
def test_what_is_put_is_got_mapped_and_read_only(tmp_path: Path, dtype: str) -> None:
    chunk = np.arange(24).reshape(2, 3, 4).astype(dtype)
    cache = ChunkCache(tmp_path / "cache")
    assert cache.get(A, 3) is None
    put = cache.put(A, 3, chunk)
    got = ChunkCache(tmp_path / "cache").get(A, 3)
    assert got is not None
    for mapped in (put, got):
        assert isinstance(mapped, np.memmap)
        assert mapped.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(mapped, chunk)
        with pytest.raises(ValueError, match="read-only"):
            mapped[0, 0, 0] = 0


def test_a_chunk_that_is_no_row_of_memory_keeps_its_values(tmp_path: Path) -> None:
    chunk = np.arange(24, dtype=np.int16).reshape(2, 3, 4)[:, ::-1, 1:3].transpose(2, 0, 1)
    np.testing.assert_array_equal(ChunkCache(tmp_path).put(A, 0, chunk), chunk)


def test_a_chunk_larger_than_the_bound_is_not_kept(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, max_bytes=ONE - 1)
    given_back = cache.put(A, 0, chunk_of(A, 0))
    np.testing.assert_array_equal(given_back, chunk_of(A, 0))
    assert not given_back.flags.writeable
    assert cache.get(A, 0) is None
    assert cache.held_bytes() == 0


def test_an_empty_chunk_is_not_kept(tmp_path: Path) -> None:
    assert ChunkCache(tmp_path).put(A, 0, np.empty((0, 3))).shape == (0, 3)


def test_the_key_used_longest_ago_goes_as_a_whole(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, max_bytes=4 * ONE)
    for key, number in ((A, 0), (A, 1), (B, 0), (B, 1)):
        cache.put(key, number, chunk_of(key, number))
    age(tmp_path, A, 100)
    age(tmp_path, B, 50)
    assert cache.get(B, 1) is not None  # now B is the younger one
    cache.put(C, 0, chunk_of(C, 0))
    assert [cache.get(A, number) for number in (0, 1)] == [None, None]
    assert all(cache.get(key, 0) is not None for key in (B, C))
    assert not (tmp_path / A).exists()


def test_the_entry_being_written_stays_while_it_alone_fits(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, max_bytes=4 * ONE)
    cache.put(A, 0, chunk_of(A, 0))
    age(tmp_path, A, 100)
    cache.put(B, 0, chunk_of(B, 0))
    for number in (1, 2, 3):
        age(tmp_path, A, 100)  # the oldest, and yet the one that is written
        cache.put(A, number, chunk_of(A, number))
    assert cache.get(B, 0) is None
    assert all(cache.get(A, number) is not None for number in range(4))


def test_an_entry_larger_than_the_bound_keeps_its_last_chunks(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, max_bytes=3 * ONE)
    for number in range(8):
        cache.put(A, number, chunk_of(A, number))
        assert cache.get(A, number) is not None
        assert cache.held_bytes() <= 3 * ONE
    assert cache.get(A, 0) is None


@settings(deadline=None, max_examples=25)
@given(
    steps=lists(tuples(sampled_from(KEYS[:4]), integers(0, 3)), max_size=25), room=integers(0, 6)
)
def test_a_chunk_is_always_right_and_the_bound_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], room: int
) -> None:
    cache = ChunkCache(tmp_path_factory.mktemp("c"), max_bytes=room * ONE)
    for key, number in steps:
        found = cache.get(key, number)
        chunk = cache.put(key, number, chunk_of(key, number)) if found is None else found
        np.testing.assert_array_equal(chunk, chunk_of(key, number))
        assert cache.held_bytes() <= room * ONE


def test_a_discarded_key_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path)
    for key, number in ((A, 0), (A, 1), (B, 0)):
        cache.put(key, number, chunk_of(key, number))
    cache.discard(A)
    cache.discard(C)
    assert [cache.get(A, 0), cache.get(A, 1)] == [None, None]
    assert cache.get(B, 0) is not None
    assert cache.held_bytes() == ONE


def test_a_mapped_chunk_outlives_its_eviction(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, max_bytes=ONE)
    first = cache.put(A, 0, chunk_of(A, 0))
    cache.put(B, 0, chunk_of(B, 0))
    assert cache.get(A, 0) is None
    np.testing.assert_array_equal(first, chunk_of(A, 0))


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw[:40],
        lambda raw: b"{" * HEADER_BYTES + raw[HEADER_BYTES:],
        lambda raw: b"\xff" * HEADER_BYTES + raw[HEADER_BYTES:],
        lambda raw: b"[]".ljust(HEADER_BYTES) + raw[HEADER_BYTES:],
        lambda raw: b'{"dtype": "O", "shape": [1]}'.ljust(HEADER_BYTES) + raw[HEADER_BYTES:],
        lambda raw: b'{"dtype": "<i4", "shape": []}'.ljust(HEADER_BYTES) + raw[HEADER_BYTES:],
        lambda raw: b'{"dtype": "<i4", "shape": "ab"}'.ljust(HEADER_BYTES) + raw[HEADER_BYTES:],
    ],
)
def test_a_damaged_chunk_is_a_miss_and_is_removed(tmp_path: Path, damage: Any) -> None:
    cache = ChunkCache(tmp_path)
    cache.put(A, 0, chunk_of(A, 0))
    path = tmp_path / A / "0"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(A, 0) is None
    assert not path.exists()
    np.testing.assert_array_equal(cache.put(A, 0, chunk_of(A, 0)), chunk_of(A, 0))


def test_a_draft_of_a_killed_process_is_removed_and_never_read(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, max_bytes=2 * ONE)
    cache.put(A, 0, chunk_of(A, 0))
    (tmp_path / ".draft-left").write_bytes(bytes(5 * ONE))
    for number in (0, 1):
        cache.put(B, number, chunk_of(B, number))
    assert not list(tmp_path.glob(".draft-*"))


def test_a_cache_without_room_on_disk_only_does_not_keep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ChunkCache(tmp_path / "file")
    for number in (0, 1):
        np.testing.assert_array_equal(cache.put(A, number, chunk_of(A, 1)), chunk_of(A, 1))
        assert cache.get(A, number) is None
    assert [record.message for record in caplog.records] == [
        "decoded volumes are not cached: File exists"
    ]


def test_a_deleted_cache_starts_again(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path / "c")
    cache.put(A, 0, chunk_of(A, 0))
    (tmp_path / "c").rename(tmp_path / "gone")
    assert cache.get(A, 0) is None
    cache.put(A, 0, chunk_of(A, 0))
    assert cache.get(A, 0) is not None


@pytest.mark.parametrize("key", ["", "../../../../etc/passwd", "A" * 16, "0" * 15, "0" * 65])
def test_a_key_that_is_no_hash_is_a_wrong_argument(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        ChunkCache(tmp_path).get(key, 0)


def test_a_key_follows_place_content_and_scheme(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    for path in (one, two):
        path.write_bytes(b"abc")
        os.utime(path, (5, 5))
    key = chunk_key(one, scheme="a-1")
    assert ChunkCache(tmp_path).get(key, 0) is None  # of the right form
    assert key == chunk_key(tmp_path / ".." / tmp_path.name / "1", scheme="a-1")
    others = {chunk_key(two, scheme="a-1"), chunk_key(one, scheme="a-2")}
    others |= {chunk_key(one, two, scheme="a-1"), chunk_key(two, one, scheme="a-1")}
    os.utime(one, (6, 6))
    others.add(chunk_key(one, scheme="a-1"))
    one.write_bytes(b"abcd")
    os.utime(one, (5, 5))
    others.add(chunk_key(one, scheme="a-1"))
    assert len(others | {key}) == 7


def run(folder: Path, seed: int, rounds: int, max_bytes: int) -> subprocess.Popen[bytes]:
    arguments = [str(value) for value in (folder, seed, rounds, max_bytes)]
    command = [sys.executable, "-m", "tests.make.chunks", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("room", [1, 5, 24])
def test_processes_share_a_folder_and_one_is_killed(tmp_path: Path, room: int) -> None:
    max_bytes = room * ONE
    workers = [run(tmp_path, seed, 800, max_bytes) for seed in range(3)]
    victim = run(tmp_path, 9, 10**9, max_bytes)
    cache = ChunkCache(tmp_path, max_bytes=max_bytes)
    most, looks = 0, 0
    while any(worker.poll() is None for worker in workers):
        most = max(most, cache.held_bytes())
        looks += 1
        if looks == 60:
            victim.kill()
    victim.kill()
    victim.communicate()
    for worker in workers:
        _, complaint = worker.communicate()
        assert (worker.returncode, complaint) == (0, b"")
    assert 0 < most <= max_bytes


def test_threads_share_a_folder(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tests.make.chunks import hammer

    with ThreadPoolExecutor(4) as pool:
        wrong = [
            pool.submit(hammer, tmp_path, seed, rounds=60, max_bytes=5 * ONE) for seed in range(4)
        ]
    assert [future.result() for future in wrong] == [0] * 4
    assert ChunkCache(tmp_path).held_bytes() <= 5 * ONE
