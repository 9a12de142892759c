from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from medvit.errors import ReadError
from medvit.geometry import index_to_lps
from medvit.io.chunk_cache import ChunkCache
from medvit.io.readers import open_volume
from medvit.io.volumes.formats import judge_volume_file, open_volume_file
from tests.make.volumes import AFFINE_LPS, HU, NRRD_PACKERS, NRRD_TYPES, Changes, write_nrrd


def refusal_of(path: Path) -> ReadError:
    with pytest.raises(ReadError) as caught:
        judge_volume_file(path)
    return caught.value


@pytest.mark.parametrize("encoding", NRRD_PACKERS)
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "A.NRRD"])
def test_voxels_and_place_are_as_written(tmp_path: Path, name: str, encoding: str) -> None:
    path = write_nrrd(tmp_path / name, encoding=encoding)
    for cache in (None, ChunkCache(tmp_path / "cache")):
        volume = open_volume_file(path, cache=cache)
        np.testing.assert_array_equal(volume.read_all(), HU)
        np.testing.assert_array_equal(volume.affine_lps, AFFINE_LPS)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["i2", "i4", "i8", "f4", "f8"])
def test_types_and_byte_orders(tmp_path: Path, kind: str, order: str) -> None:
    path = write_nrrd(tmp_path / "a.nrrd", HU.astype(f"{order}{kind}"))
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


@pytest.mark.parametrize("kind", [kind for kind in NRRD_TYPES if kind[0] == "u"])
def test_unsigned_types_hold_no_hu(tmp_path: Path, kind: str) -> None:
    assert refusal_of(write_nrrd(tmp_path / "a.nrrd", HU.astype(kind))).reason == "not_hu"


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("LPS", (1, 1)),
        ("right-anterior-superior", (-1, -1)),
        ("RAS", (-1, -1)),
        ("left-anterior-superior", (1, -1)),
        ("LAS", (1, -1)),
    ],
)
def test_the_space_says_which_way_axes_run(
    tmp_path: Path, space: str, signs: tuple[int, int]
) -> None:
    volume = open_volume_file(write_nrrd(tmp_path / "a.nrrd", changes={"space": space}))
    # The first voxel of the file, whose corner a turned axis moves to its other end.
    corner = (0, 0 if signs[1] > 0 else 5, 0 if signs[0] > 0 else 6)
    assert index_to_lps(volume.affine_lps, corner).tolist() == [
        -10.0 * signs[0],
        20.0 * signs[1],
        -30.5,
    ]
    assert volume.read_all()[corner] == HU[0, 0, 0]
    assert volume.spacing_mm == (2.0, 0.75, 0.5)


def test_directions_may_turn_and_flip_axes(tmp_path: Path) -> None:
    changes = {"space directions": "(0,0,-2) (0.5,0,0) (0,0.75,0)"}
    volume = open_volume_file(write_nrrd(tmp_path / "a.nrrd", changes=changes))
    np.testing.assert_array_equal(volume.read_all(), HU.transpose(2, 0, 1)[::-1])
    assert volume.affine_lps[:3, 3].tolist() == [-10.0, 20.0, -30.5 - 6 * 2.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"space directions": "(0.5, 0, 0) (0, 0.75, 0) (0, 0, 2)"},
        {"space units": '"mm" "mm" "mm"'},
        {"space units": '"" "" ""'},
        {
            "space units": '"um" "um" "um"',
            "space directions": "(500,0,0) (0,750,0) (0,0,2000)",
            "space origin": "(-10000,20000,-30500)",
        },
        {"type": "int16_t"},
        {"type": "signed short int"},
        {"measurement frame": "(1,0,0) (0,1,0) (0,0,1)"},
        {"spacings": "9 9 9"},
        {"byte skip": "-1"},
    ],
)
def test_other_spellings_mean_the_same(tmp_path: Path, changes: Changes) -> None:
    volume = open_volume_file(write_nrrd(tmp_path / "a.nrrd", changes=changes))
    np.testing.assert_array_equal(volume.read_all(), HU)
    np.testing.assert_allclose(volume.affine_lps, AFFINE_LPS, atol=1e-12)


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nrrd")
    head, _, raw = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + raw)
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


def test_a_detached_header_needs_no_empty_line(tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.nhdr", changes={"datafile": "voxels.bin", "data file": None})
    path.write_bytes(path.read_bytes().rstrip())
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
def test_lines_and_bytes_before_the_voxels_are_skipped(tmp_path: Path, name: str) -> None:
    changes = {"line skip": "2", "byte skip": "3"}
    path = write_nrrd(tmp_path / name, changes=changes, before=b"one\ntwo\nabc")
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


def test_bytes_are_skipped_after_unpacking(tmp_path: Path) -> None:
    volume = np.concatenate([np.full(6, 77, np.int16), HU.ravel()])
    changes = {
        "sizes": "7 6 5",
        "dimension": "3",
        "byte skip": "12",
        "line skip": "1",
        "kinds": None,
    }
    path = write_nrrd(tmp_path / "a.nrrd", volume, changes, encoding="gzip", before=b"a line\n")
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


@pytest.mark.parametrize("place", [0, 3])
def test_an_axis_of_one_value_without_direction_is_dropped(tmp_path: Path, place: int) -> None:
    directions = ["(0.5,0,0)", "(0,0.75,0)", "(0,0,2)"]
    directions.insert(place, "none")
    values = HU[..., None] if place == 0 else HU[None]
    changes = {"space directions": " ".join(directions), "kinds": None}
    volume = open_volume_file(write_nrrd(tmp_path / "a.nrrd", values, changes))
    np.testing.assert_array_equal(volume.read_all(), HU)
    np.testing.assert_array_equal(volume.affine_lps, AFFINE_LPS)


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"space": None}, "no_position", "space is ''"),
        ({"space": None, "spacings": "1 1 1"}, "no_position", "left and right are unknown"),
        ({"space": "scanner-xyz"}, "no_position", "'scanner-xyz'"),
        ({"space": "left-posterior-superior-time"}, "no_position", "-time'"),
        ({"space origin": None}, "no_position", "or no origin"),
        ({"space directions": None}, "no_position", "0 space directions for 3 axes"),
        ({"space directions": "(1,0,0) (0,1,0)"}, "no_position", "2 space directions"),
        ({"space directions": "(1,0,0) (0,1,0) none"}, "wrong_dimensions", "axes of [5] values"),
        ({"space directions": "(1,0) (0,1) (1,1)"}, "bad_value", "space directions is '1 0'"),
        ({"space directions": "(1,0,0) (0,1,0) (0,0,nan)"}, "bad_value", "'0 0 nan'"),
        ({"space directions": "(1,0,0) (0,1,0) (0,1,1)"}, "gantry_tilt", "45.0 degrees"),
        ({"space directions": "(1,0,0) (0,1,0) (0,0,0)"}, "bad_value", "no box in space"),
        ({"space units": '"furlong" "mm" "mm"'}, "bad_value", "furlong"),
        ({"encoding": "ascii"}, "encoding", "'ascii'"),
        ({"encoding": "hex"}, "encoding", "'hex'"),
        ({"encoding": None}, "encoding", "encoding is ''"),
        ({"endian": None}, "bad_value", "endian is ''"),
        ({"type": "block"}, "bad_value", "'block'"),
        ({"dimension": "4"}, "bad_value", "sizes is '7 6 5'"),
        ({"dimension": "2", "sizes": "42 5"}, "no_position", "3 space directions for 2 axes"),
        ({"sizes": "7 6 x"}, "bad_value", "'7 6 x'"),
        ({"sizes": "7 6 500"}, "truncated", "42000 bytes of voxels declared"),
        ({"sizes": "100000 100000 500"}, "truncated", "declared"),
        ({"data file": "LIST"}, "encoding", "'LIST'"),
        ({"data file": "a%03d.raw 1 5 1"}, "encoding", "a%03d.raw"),
        ({"data file": "../voxels.bin"}, "bad_value", "'../voxels.bin'"),
        ({"data file": "/etc/passwd"}, "bad_value", "'/etc/passwd'"),
        ({"data file": "gone.raw"}, "missing_data", "'gone.raw' is not there"),
        ({"byte skip": "-2"}, "bad_value", "byte skip -2"),
        ({"byte skip": "100000"}, "truncated", "declared"),
        ({"line skip": "-1"}, "bad_value", "line skip -1"),
        ({"line skip": "9999999999"}, "bad_value", "hold fewer"),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    tmp_path: Path, changes: Changes, reason: str, message: str
) -> None:
    error = refusal_of(write_nrrd(tmp_path / "a.nhdr", changes=changes))
    assert (error.reason, message in error.message) == (reason, True), error.message


def test_lists_and_vectors_in_a_voxel_are_refused(tmp_path: Path) -> None:
    changes = {
        "space directions": "none (0.5,0,0) (0,0.75,0) (0,0,2)",
        "kinds": "vector domain domain domain",
    }
    error = refusal_of(write_nrrd(tmp_path / "a.nrrd", np.stack([HU] * 3, -1), changes))
    assert (error.reason, "axes of [3] values" in error.message) == ("wrong_dimensions", True)


@pytest.mark.parametrize("values", [HU.clip(0, 3), HU.astype(np.uint8) % 6])
def test_label_maps_are_refused(tmp_path: Path, values: npt.NDArray[Any]) -> None:
    assert refusal_of(write_nrrd(tmp_path / "a.nrrd", values)).reason == "not_hu"


@pytest.mark.parametrize("encoding", NRRD_PACKERS)
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
def test_voxels_cut_short_are_truncated(tmp_path: Path, name: str, encoding: str) -> None:
    path = write_nrrd(tmp_path / name, encoding=encoding)
    voxels = path if name == "a.nrrd" else tmp_path / "voxels.bin"
    voxels.write_bytes(voxels.read_bytes()[:-3])
    assert refusal_of(path).reason == "truncated"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"hello", "not_an_image"),
        (b"NRRD0009\n", "not_an_image"),
        (b"NRRD0004\ntype: short\n", "truncated"),
        (b"NRRD0004\n" + b"a: b\n" * 90000, "truncated"),
        (b"NRRD0004\n\n", "bad_value"),
    ],
)
def test_rubbish_gets_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(content)
    assert refusal_of(tmp_path / "a.nrrd").reason == reason


@pytest.mark.shared_data
def test_a_real_nrrd_equals_the_dicom_beside_it(shared_data: Path) -> None:
    folder = shared_data / "ct/cip_ct64"
    dicom, nrrd = open_volume(folder / "dicom"), open_volume(folder / "ct-64.nrrd")
    np.testing.assert_array_equal(nrrd.read_all(), dicom.read_all())
    # The DICOM files hold their positions with three decimals.
    ends = [(0, 0, 0), tuple(length - 1 for length in dicom.shape)]
    apart_mm = index_to_lps(nrrd.affine_lps, ends) - index_to_lps(dicom.affine_lps, ends)
    assert np.abs(apart_mm).max() < 1e-3


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["lm-64.nrrd", "wholeLung-64.nrrd"])
def test_real_label_maps_are_refused(shared_data: Path, name: str) -> None:
    assert refusal_of(shared_data / "ct/cip_ct64" / name).reason == "not_hu"
