"""Damaged headers of every volume format end in a reason, quickly, and in nothing else."""

from __future__ import annotations

import gzip
import resource
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import DataObject, binary, data, integers, lists, sampled_from, tuples

from medvit.errors import ReadError
from medvit.io.volumes.formats import judge_volume_file, open_volume_file
from tests.make.nifti import write_nifti
from tests.make.volumes import HU, write_metaimage, write_nrrd, write_zarr

LONGEST = timedelta(seconds=5)

# A number too large to compute with is a reason, not a warning to whoever scans.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

MAKERS: dict[str, Callable[[Path], Path]] = {
    "a.nii": lambda path: write_nifti(path, HU.transpose(2, 1, 0)),
    "a.nii.gz": lambda path: write_nifti(path, HU.transpose(2, 1, 0)),
    "a.hdr": lambda path: write_nifti(path, HU.transpose(2, 1, 0), version=2),
    "a.mha": write_metaimage,
    "b.mha": lambda path: write_metaimage(path, is_packed=True),
    "a.mhd": write_metaimage,
    "a.nrrd": write_nrrd,
    "b.nrrd": lambda path: write_nrrd(path, encoding="gzip"),
    "c.nrrd": lambda path: write_nrrd(path, encoding="bzip2"),
    "a.nhdr": write_nrrd,
}
WORDS = (
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"99999999999999999999",
    b"%s",
    b"../",
    b"\0",
    b"(",
    b"\n\n",
)


REASONS = {
    *("truncated", "bad_value", "unreadable", "undecodable", "wrong_dimensions", "encoding"),
    *("not_hu", "missing_data", "too_large", "no_position", "not_an_image", "signedness"),
    *("too_few_slices", "gantry_tilt"),
}
"""Codes of the contract that a damaged volume file may earn."""


def survives(path: Path) -> bool:
    """Open and read; a refusal with a reason is as good as a volume."""
    try:
        hu = open_volume_file(path).read(slice(0, 2), slice(0, 3), slice(0, 3))
    except ReadError as error:
        return error.reason in REASONS and bool(error.message)
    return hu.dtype == np.float32 and all(a <= b for a, b in zip(hu.shape, (2, 3, 3), strict=True))


def damaged(raw: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, piece in changes:
        at = place % (len(raw) + 1)
        raw = raw[:at] + piece + raw[at + length :]
    return raw


@pytest.mark.parametrize("name", MAKERS)
@settings(
    deadline=LONGEST,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    changes=lists(
        tuples(integers(0, 700), integers(0, 4), binary(max_size=4) | sampled_from(WORDS)),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_file_ends_in_a_reason(
    tmp_path: Path, name: str, changes: list[tuple[int, int, bytes]]
) -> None:
    path = MAKERS[name](tmp_path / name)
    raw = path.read_bytes()
    is_packed_whole = name == "a.nii.gz"
    raw = damaged(gzip.decompress(raw) if is_packed_whole else raw, changes)
    path.write_bytes(gzip.compress(raw, 1) if is_packed_whole else raw)
    assert survives(path)


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_cut_anywhere_ends_in_a_reason(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / name)
    raw = path.read_bytes()
    for length in range(0, len(raw), 13):
        path.write_bytes(raw[:length])
        with pytest.raises(ReadError):
            judge_volume_file(path)


@pytest.mark.parametrize("version", [2, 3])
@settings(
    deadline=LONGEST,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(draw=data())
def test_damaged_metadata_of_a_folder_end_in_a_reason(
    tmp_path_factory: pytest.TempPathFactory, version: int, draw: DataObject
) -> None:
    folder = write_zarr(tmp_path_factory.mktemp("z") / "a.zarr", version=version)
    names = ["zarr.json", "0/zarr.json"] if version == 3 else [".zattrs", "0/.zarray"]
    path = folder / draw.draw(sampled_from(names))
    pieces = binary(max_size=3) | sampled_from((*WORDS, b"null", b"[]", b"{}", b'""'))
    change = draw.draw(tuples(integers(0, 2000), integers(0, 6), pieces))
    path.write_bytes(damaged(path.read_bytes(), [change]))
    assert survives(folder)


@pytest.mark.parametrize("name", ["a.nii.gz", "b.mha", "b.nrrd"])
def test_a_bomb_takes_no_more_memory_than_a_few_planes(tmp_path: Path, name: str) -> None:
    """50 kB that claim, and unpack to, 40 MB in planes of 8 MB are looked at in pieces."""
    path = MAKERS[name](tmp_path / name)
    zeros = bytes(40_000_000)
    if name == "a.nii.gz":
        head = bytearray(gzip.decompress(path.read_bytes())[:352])
        head[42:48] = b"".join(n.to_bytes(2, "little") for n in (2000, 2000, 5))
        path.write_bytes(gzip.compress(bytes(head) + zeros, 9))
    else:
        raw = path.read_bytes().replace(b"7 6 5", b"2000 2000 5")
        mark = b"LOCAL\n" if name == "b.mha" else b"\n\n"
        pack = zlib.compress if name == "b.mha" else gzip.compress
        path.write_bytes(raw[: raw.index(mark) + len(mark)] + pack(zeros, 9))
    assert path.stat().st_size < 60_000
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ReadError) as caught:
        judge_volume_file(path)
    assert caught.value.reason == "not_hu"
    # A plane as float64 is 32 MB, and two of them are held when its lowest value is sought.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 120_000


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "b.mha", "a.nrrd", "b.nrrd"])
def test_100_kb_that_claim_3_gb_are_refused_at_once(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / name)
    if name.startswith("a.nii"):
        raw = path.read_bytes()
        head = bytearray(gzip.decompress(raw) if name == "a.nii.gz" else raw)
        head[42:48] = b"".join(n.to_bytes(2, "little") for n in (2000, 2000, 400))
        path.write_bytes(gzip.compress(bytes(head)) if name == "a.nii.gz" else bytes(head))
    else:
        path.write_bytes(path.read_bytes().replace(b"7 6 5", b"2000 2000 400"))
    path.write_bytes(path.read_bytes().ljust(100_000, b"\0"))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ReadError, match="declared") as caught:
        judge_volume_file(path)
    assert caught.value.reason == "truncated"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000
