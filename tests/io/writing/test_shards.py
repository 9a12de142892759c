from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis.strategies import integers, sampled_from, tuples
from zarr.codecs import BloscCodec, Crc32cCodec

from medvit.io.writing.shards import Shards

LZ4 = numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE)


def array_at(folder: Path, shape: tuple[int, int, int], dtype: str, chunk: Any, shard: Any) -> Any:
    return zarr.create_array(
        folder,
        shape=shape,
        dtype=dtype,
        chunks=chunk,
        shards=shard,
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()],
        fill_value=0,
        overwrite=True,
    )


@settings(max_examples=12, deadline=None)
@given(
    shape=tuples(integers(1, 9), integers(1, 30), integers(1, 30)),
    depth=integers(1, 4),
    chunk=tuples(integers(1, 6), integers(1, 6)),
    parts=tuples(integers(1, 4), integers(1, 4)),
    dtype=sampled_from(["int16", "float32"]),
)
def test_zarr_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    depth: int,
    chunk: tuple[int, int],
    parts: tuple[int, int],
    dtype: str,
) -> None:
    folder = tmp_path_factory.mktemp("shards") / "a"
    whole_chunk = (depth, *chunk)
    shard = (depth, chunk[0] * parts[0], chunk[1] * parts[1])
    array = array_at(folder, shape, dtype, whole_chunk, shard)
    hu = np.random.default_rng(0).integers(-1000, 1000, shape).astype(dtype)
    shards = Shards(folder, whole_chunk, shard, LZ4)
    for start in range(0, shape[0], depth):
        shards[start : start + depth] = hu[start : start + depth]
    np.testing.assert_array_equal(array[:], hu)


def test_a_file_is_as_long_as_that_of_zarr(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (4, 8, 8)).astype(np.int16)
    array_at(tmp_path / "zarr", hu.shape, "int16", (4, 4, 4), (4, 8, 8))[:] = hu
    Shards(tmp_path / "ours", (4, 4, 4), (4, 8, 8), LZ4)[0:4] = hu
    place = Path("c/0/0/0")
    ours, theirs = ((tmp_path / name / place).read_bytes() for name in ("ours", "zarr"))
    assert len(ours) == len(theirs)


@pytest.mark.parametrize(("start", "count"), [(1, 2), (2, 3)])
def test_slices_across_files_are_refused(tmp_path: Path, start: int, count: int) -> None:
    shards = Shards(tmp_path, (2, 4, 4), (2, 4, 4), LZ4)
    with pytest.raises(ValueError, match=f"{count} slices from {start} on; files are 2 deep"):
        shards[start : start + count] = np.zeros((count, 4, 4), np.int16)
