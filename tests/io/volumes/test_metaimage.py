from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from medvit.errors import ReadError
from medvit.geometry import lps_to_index
from medvit.io.chunk_cache import ChunkCache
from medvit.io.volumes.formats import judge_volume_file, open_volume_file
from tests.make.volumes import AFFINE_LPS, HU, MET_TYPES, Changes, write_metaimage


def refusal_of(path: Path) -> ReadError:
    with pytest.raises(ReadError) as caught:
        judge_volume_file(path)
    return caught.value


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "A.MHA"])
def test_voxels_and_place_are_as_written(tmp_path: Path, name: str, is_packed: bool) -> None:
    path = write_metaimage(tmp_path / name, is_packed=is_packed)
    for cache in (None, ChunkCache(tmp_path / "cache")):
        volume = open_volume_file(path, cache=cache)
        np.testing.assert_array_equal(volume.read_all(), HU)
        np.testing.assert_array_equal(volume.affine_lps, AFFINE_LPS)
    assert [reason.code for reason in judge_volume_file(path).reasons] == ["ok"]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [kind for kind in MET_TYPES if kind not in ("i1", "u1")])
def test_types_and_byte_orders(tmp_path: Path, kind: str, order: str) -> None:
    values = HU.astype(f"{order}{kind}")
    path = write_metaimage(tmp_path / "a.mha", values)
    if kind[0] == "u":
        assert refusal_of(path).reason == "not_hu"
    else:
        np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


@pytest.mark.parametrize(
    "changes",
    [
        {"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "False"},
        {"BinaryDataByteOrderMSB": None},
        {"TransformMatrix": None, "Orientation": "1 0 0 0 1 0 0 0 1"},
        {"TransformMatrix": None, "Rotation": "1 0 0 0 1 0 0 0 1"},
        {"Offset": None, "Origin": "-10 20 -30.5"},
        {"Offset": None, "Position": "-10 20 -30.5"},
        {"ElementSpacing": None, "ElementSize": "0.5 0.75 2"},
        {"HeaderSize": "-1"},
        {"ElementNumberOfChannels": "1"},
        {"AnatomicalOrientation": "LPI"},
        {"Comment": ""},
        {"ElementToIntensityFunctionSlope": "1"},
    ],
)
def test_other_spellings_mean_the_same(tmp_path: Path, changes: Changes) -> None:
    volume = open_volume_file(write_metaimage(tmp_path / "a.mha", changes=changes))
    np.testing.assert_array_equal(volume.read_all(), HU)
    np.testing.assert_array_equal(volume.affine_lps, AFFINE_LPS)


@pytest.mark.parametrize(("size", "name"), [("16", "a.mhd"), ("-1", "a.mhd"), ("16", "a.mha")])
def test_bytes_before_the_voxels_are_skipped(tmp_path: Path, size: str, name: str) -> None:
    path = write_metaimage(tmp_path / name, changes={"HeaderSize": size})
    voxels = path if name == "a.mha" else path.with_suffix(".raw")
    raw = voxels.read_bytes()
    voxels.write_bytes(raw[: -HU.nbytes] + bytes(16) + raw[-HU.nbytes :])
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path) -> None:
    changes = {"Offset": "-10 20 -30.5 0", "ElementSpacing": "0.5 0.75 2 1"}
    path = write_metaimage(tmp_path / "a.mha", HU[None], changes)
    np.testing.assert_array_equal(open_volume_file(path).affine_lps, AFFINE_LPS)


def test_voxels_in_a_folder_below_are_found(tmp_path: Path) -> None:
    path = write_metaimage(tmp_path / "a.mhd", changes={"ElementDataFile": "data/a.raw"})
    (tmp_path / "data").mkdir()
    path.with_suffix(".raw").rename(tmp_path / "data/a.raw")
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU)


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"ElementDataFile": "gone.raw"}, "missing_data", "'gone.raw' is not there"),
        ({"ElementDataFile": "../a.raw"}, "bad_value", "not in '../a.raw'"),
        ({"ElementDataFile": "/etc/passwd"}, "bad_value", "not in '/etc/passwd'"),
        ({"ElementDataFile": "..\\a.raw"}, "bad_value", "must lie beside the header"),
        ({"ElementDataFile": "C:\\a.raw"}, "bad_value", "must lie beside the header"),
        ({"ElementDataFile": "a\0.raw"}, "bad_value", "must lie beside the header"),
        ({"ElementDataFile": ""}, "bad_value", "not in ''"),
        ({"ElementDataFile": "LIST"}, "encoding", "'LIST'"),
        ({"ElementDataFile": "a%03d.raw 1 5 1"}, "encoding", "a%03d.raw"),
        ({"ElementDataFile": None}, "not_an_image", "ends in ElementDataFile"),
        ({"ObjectType": "Tube"}, "not_an_image", "'Tube'"),
        ({"BinaryData": "False"}, "encoding", "BinaryData = False"),
        ({"BinaryDataByteOrderMSB": "maybe"}, "bad_value", "'maybe'"),
        ({"ElementNumberOfChannels": "3"}, "wrong_dimensions", "3 values in a voxel"),
        ({"ElementType": "MET_LONG"}, "bad_value", "'MET_LONG'"),
        ({"ElementType": "MET_SHORT_ARRAY"}, "bad_value", "'MET_SHORT_ARRAY'"),
        ({"ElementType": None}, "bad_value", "ElementType ''"),
        ({"ElementSpacing": None}, "no_position", "no ElementSpacing"),
        ({"Offset": None}, "no_position", "no Offset"),
        ({"TransformMatrix": None}, "no_position", "no TransformMatrix"),
        ({"TransformMatrix": "1 0 0 0 1 0"}, "bad_value", "1 0 0 0 1 0"),
        ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "bad_value", "not of unit length"),
        ({"TransformMatrix": "1e300 0 0 0 1 0 0 0 1"}, "bad_value", "not of unit length"),
        ({"ElementSpacing": "1e300 1 1"}, "bad_value", "no box in space"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "gantry_tilt", "90.0 degrees"),
        ({"Offset": "0 nan 0"}, "bad_value", "nan"),
        ({"Offset": "0 x 0"}, "bad_value", "'0 x 0'"),
        ({"ElementSpacing": "1 0 1"}, "bad_value", "must be positive"),
        ({"ElementSpacing": "1 1 -2"}, "bad_value", "must be positive"),
        ({"DimSize": "7 6 5 2"}, "wrong_dimensions", "7 x 6 x 5 x 2"),
        ({"DimSize": "7 6"}, "wrong_dimensions", "7 x 6"),
        ({"DimSize": "7 6 1e9"}, "bad_value", "'7 6 1e9'"),
        ({"DimSize": "7 6 6"}, "truncated", "504 bytes of voxels declared"),
        ({"DimSize": "70000 60000 60000"}, "truncated", "declared"),
        ({"HeaderSize": "-2"}, "bad_value", "HeaderSize -2"),
        ({"ElementToIntensityFunctionSlope": "2"}, "bad_value", "do not apply"),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    tmp_path: Path, changes: Changes, reason: str, message: str
) -> None:
    error = refusal_of(write_metaimage(tmp_path / "a.mhd", changes=changes))
    assert (error.reason, message in error.message) == (reason, True), error.message
    assert error.message.startswith("a.")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (HU.clip(0, 3), "not_hu"),
        (HU.astype(np.uint8), "not_hu"),
        (HU[:2], "too_few_slices"),
    ],
)
def test_what_is_no_ct_is_refused(tmp_path: Path, values: npt.NDArray[Any], reason: str) -> None:
    assert refusal_of(write_metaimage(tmp_path / "a.mha", values)).reason == reason


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_voxels_cut_short_are_truncated(tmp_path: Path, name: str, is_packed: bool) -> None:
    path = write_metaimage(tmp_path / name, is_packed=is_packed)
    suffix = ".mha" if name == "a.mha" else (".zraw" if is_packed else ".raw")
    voxels = path.with_suffix(suffix)
    voxels.write_bytes(voxels.read_bytes()[:-3])
    assert refusal_of(path).reason == "truncated"


@pytest.mark.parametrize("content", [b"", b"hello", b"a = b\n" * 20000, bytes(70000), b"\xff" * 99])
def test_rubbish_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mhd").write_bytes(content)
    expected = "not_an_image" if content else "truncated"
    assert refusal_of(tmp_path / "a.mhd").reason == expected


def test_a_missing_header_is_unreadable(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / "gone.mha").reason == "unreadable"


DIRECTIONS = [
    *(np.diag(signs) for signs in itertools.product((1.0, -1.0), repeat=3)),
    np.eye(3)[[1, 2, 0]],
    np.eye(3)[[0, 2, 1]],
    np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]),
]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["a.mha", "b.mhd", "c.nrrd", "d.nii", "e.nii.gz"])
def test_itk_puts_each_voxel_at_the_same_point(
    tmp_path: Path, direction: npt.NDArray[np.float64], name: str
) -> None:
    sitk: Any = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(HU)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((-10.0, 20.0, -30.5))
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / name), useCompression=name == "b.mhd")
    volume = open_volume_file(tmp_path / name)
    hu = volume.read_all()
    for index in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (3, 2, 1)):
        point = image.TransformIndexToPhysicalPoint(index)
        there = lps_to_index(volume.affine_lps, point)
        np.testing.assert_allclose(there, np.rint(there), atol=1e-5)
        assert hu[tuple(np.rint(there).astype(int))] == image.GetPixel(*index)


@pytest.mark.shared_data
def test_a_header_of_luna16_without_its_data_is_named(shared_data: Path) -> None:
    (path,) = (shared_data / "ct/metaimage_header_only").glob("*.mhd")
    assert refusal_of(path).reason == "missing_data"
