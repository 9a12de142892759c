from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, permutations, sampled_from, tuples

from medvit.errors import ReadError
from medvit.geometry import index_to_lps
from medvit.io.volumes.formats import judge_volume_file, open_volume_file
from tests.make.dicom import truncate
from tests.make.nifti import RAS_2MM, write_nifti

STORED = (np.arange(5 * 6 * 7) - 100).reshape(5, 6, 7).astype(np.int16)


def reason_of(path: Path) -> str:
    with pytest.raises(ReadError) as caught:
        judge_volume_file(path)
    assert caught.value.message.startswith(path.name)
    return caught.value.reason


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
def test_ras_on_disk_is_lps_and_zyx_in_memory(tmp_path: Path, name: str) -> None:
    path = write_nifti(tmp_path / name.lower(), STORED).rename(tmp_path / name)
    volume = open_volume_file(path)
    assert volume.shape == (7, 6, 5)
    assert volume.spacing_mm == (2.0, 2.0, 2.0)
    np.testing.assert_array_equal(volume.read_all(), STORED[::-1, ::-1].transpose(2, 1, 0))
    # Voxel (0, 0, 0) of the file lies at RAS 0; that is the far corner in LPS order.
    assert index_to_lps(volume.affine_lps, (0, 5, 4)).tolist() == [0.0, 0.0, 0.0]
    assert index_to_lps(volume.affine_lps, (1, 5, 3)).tolist() == [-2.0, 0.0, 2.0]


@settings(deadline=None, max_examples=20)
@given(
    order=permutations(range(3)),
    signs=tuples(*[sampled_from((-1.0, 1.0))] * 3),
    seed=integers(0, 999),
)
def test_every_voxel_keeps_its_place_however_the_file_is_turned(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], signs: tuple[float, ...], seed: int
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[order] * (np.asarray(signs) * (1.0, 1.5, 2.0))
    affine[:3, 3] = (11.0, -22.0, 33.0)
    path = write_nifti(tmp_path_factory.mktemp("n") / "a.nii", STORED, affine_ras=affine)
    volume = open_volume_file(path)
    steps = volume.affine_lps[:3, :3]
    assert (steps[[2, 1, 0], [0, 1, 2]] > 0).all()
    values = volume.read_all()
    for index in np.random.default_rng(seed).integers(0, (5, 6, 7), (6, 3)):
        ras = affine @ [*index, 1]
        there = np.linalg.inv(volume.affine_lps) @ (ras * (-1, -1, 1, 1))
        z, y, x = np.rint(there[:3]).astype(int)
        assert values[z, y, x] == STORED[tuple(index)]
    box = (slice(1, 3), slice(0, 4), slice(2, 5))
    np.testing.assert_array_equal(volume.read(*box), values[box])


def test_scale_and_intercept_are_applied(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", STORED)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([2.0, -1000.0], "<f4").tobytes()
    path.write_bytes(bytes(raw))
    lowest = open_volume_file(path).read_all().min()
    assert lowest == STORED.min() * 2.0 - 1000.0


def test_a_single_fourth_axis_is_dropped(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", STORED[..., None])
    assert judge_volume_file(path).shape == (7, 6, 5)


def test_float_hu_are_read(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", STORED.astype(np.float32) + 0.5)
    assert open_volume_file(path).read_all().min() == -99.5


SHEARED = RAS_2MM + np.array([[0, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("values", "arguments", "reason"),
    [
        (np.zeros((5, 6, 7, 2), np.int16), {}, "wrong_dimensions"),
        (np.zeros((5, 6), np.int16), {}, "wrong_dimensions"),
        (np.zeros((5, 6, 2), np.int16), {}, "too_few_slices"),
        (STORED, {"form_code": 0}, "no_position"),
        (STORED, {"affine_ras": SHEARED}, "gantry_tilt"),
        (STORED.astype(np.uint8), {}, "not_hu"),
        (STORED.clip(0).astype(np.uint16), {}, "not_hu"),
        (STORED.clip(0, 3), {}, "not_hu"),
        (STORED.astype(np.complex64), {}, "not_hu"),
        (np.full((5, 6, 7), np.nan, np.float32), {}, "not_hu"),
    ],
)
def test_what_is_no_straight_volume_of_hu_is_refused(
    tmp_path: Path, values: npt.NDArray[Any], arguments: dict[str, Any], reason: str
) -> None:
    assert reason_of(write_nifti(tmp_path / "a.nii.gz", values, **arguments)) == reason


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_cut_short_is_truncated(tmp_path: Path, name: str) -> None:
    assert reason_of(truncate(write_nifti(tmp_path / name, STORED))) == "truncated"


def test_a_whole_gzip_of_too_few_voxels_is_truncated(tmp_path: Path) -> None:
    raw = write_nifti(tmp_path / "a.nii", STORED).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(raw[:-2]))
    assert reason_of(tmp_path / "b.nii.gz") == "truncated"


def test_a_header_that_declares_far_more_than_the_file_is_truncated(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", STORED)
    raw = bytearray(path.read_bytes())
    raw[42:48] = np.array([32767] * 3, "<i2").tobytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    assert reason_of(tmp_path / "b.nii.gz") == "truncated"


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b rubbish", bytes(400)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_rubbish_gets_a_reason(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason_of(tmp_path / name) in ("truncated", "not_an_image")


def test_a_voxel_that_is_no_number_stops_the_read(tmp_path: Path) -> None:
    values = STORED.astype(np.float32)
    values[4, 0, 0] = np.inf
    volume = open_volume_file(write_nifti(tmp_path / "a.nii", values))
    with pytest.raises(ReadError, match="1 voxels are not finite") as caught:
        volume.read_all()
    assert caught.value.reason == "bad_value"


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "gone.nii") == "unreadable"
