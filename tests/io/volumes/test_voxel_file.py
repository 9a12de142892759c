from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medvit.errors import ReadError
from medvit.io.volumes.grid import StoredHeader
from medvit.io.volumes.unpacked import MOST_RATIO, Packing
from medvit.io.volumes.voxel_file import VoxelFile


def header(*lengths: int) -> StoredHeader:
    columns, rows, count = lengths
    return StoredHeader(Path("a"), (columns, rows, count), np.dtype("<i2"), np.eye(4))


@pytest.mark.parametrize(("packing", "ratio"), [("", 1), ("deflate", MOST_RATIO)])
def test_more_than_a_file_holds_is_refused_before_it_is_read(packing: Packing, ratio: int) -> None:
    # 100 voxels of 2 bytes, and 12 bytes in front of them.
    start, offset = (7, 5) if packing else (12, 0)
    for held, fits in ((-(-(200 + offset) // ratio), True), ((199 + offset) // ratio, False)):
        file = VoxelFile(Path("a"), packing, start, offset, (start + held, 0))
        if fits:
            file.check_holds(header(5, 5, 4))
            continue
        with pytest.raises(ReadError, match=f"{200 + offset} bytes of voxels declared") as caught:
            file.check_holds(header(5, 5, 4))
        assert caught.value.reason == "truncated"


def test_a_start_behind_the_end_of_a_file_leaves_nothing() -> None:
    with pytest.raises(ReadError, match="200 bytes of voxels declared, 0 are there"):
        VoxelFile(Path("a"), "", 50, 0, (20, 0)).check_holds(header(5, 5, 4))


def test_a_plane_too_large_for_memory_is_refused() -> None:
    with pytest.raises(ReadError, match="800000000 bytes") as caught:
        VoxelFile(Path("a"), "", 0, 0, (10**10, 0)).check_holds(header(20000, 20000, 3))
    assert caught.value.reason == "too_large"
