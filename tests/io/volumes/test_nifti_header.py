from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, sampled_from

from medvit.errors import ReadError
from medvit.io.volumes.formats import judge_volume_file, open_volume_file
from medvit.io.volumes.nifti_header import read_fields
from medvit.io.volumes.unpacked import Unpacked
from tests.make.nifti import RAS_2MM, write_nifti
from tests.make.volumes import HU

STORED = HU.transpose(2, 1, 0)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
nibabel: Any = nib


def refusal_of(path: Path) -> ReadError:
    with pytest.raises(ReadError) as caught:
        judge_volume_file(path)
    return caught.value


def write_forms(
    path: Path,
    sform: npt.NDArray[np.float64] | None,
    qform: npt.NDArray[np.float64] | None,
    *,
    unit: str = "mm",
    version: int = 1,
) -> Path:
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(STORED, None)
    image.set_sform(sform, code=0 if sform is None else 1)
    image.set_qform(qform, code=0 if qform is None else 1)
    image.header.set_xyzt_units(unit)
    image.to_filename(path)
    return path


def place_of_first_voxel(path: Path) -> list[float]:
    """Return where voxel (0, 0, 0) of the file lies, in LPS mm."""
    volume = open_volume_file(path)
    z, y, x = np.argwhere(volume.read_all() == STORED[0, 0, 0])[0]
    point: list[float] = (volume.affine_lps @ [z, y, x, 1])[:3].tolist()
    return point


def change(path: Path, at: int, layout: str, *values: float) -> Path:
    raw = bytearray(path.read_bytes())
    struct.pack_into(layout, raw, at, *values)
    path.write_bytes(bytes(raw))
    return path


@settings(deadline=None, max_examples=40)
@given(seed=integers(0, 10**6), version=sampled_from([1, 2]), order=sampled_from("<>"))
def test_fields_are_those_that_nibabel_reads(seed: int, version: int, order: str) -> None:
    rng = np.random.default_rng(seed)
    header = (nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header)(endianness=order)
    header.set_data_shape(rng.integers(1, 30000, rng.integers(1, 8)))
    header.set_data_dtype(rng.choice(["i1", "u1", "i2", "u2", "i4", "f4", "f8", "i8"]))
    header.set_zooms(rng.uniform(0.1, 5, len(header.get_data_shape())))
    header.set_slope_inter(rng.uniform(-3, 3), rng.uniform(-2000, 2000))
    header.set_xyzt_units(rng.choice(["mm", "meter", "micron"]), "sec")
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3)
    affine = np.block([[rotation, rng.normal(size=(3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    if len(header.get_data_shape()) >= 3:
        header.set_qform(affine, code=int(rng.integers(5)))
    header.set_sform(affine, code=int(rng.integers(5)))
    header.structarr["vox_offset"] = 544
    raw = header.structarr.tobytes() + bytes(4)
    fields = read_fields(Unpacked(io.BytesIO(raw), Path("a"), ""), Path("a"))
    theirs = header.structarr
    assert (fields.version, fields.byte_order, fields.is_single) == (version, order, True)
    assert fields.lengths == header.get_data_shape()
    assert fields.data_type == theirs["datatype"]
    assert fields.offset == 544
    assert (fields.slope, fields.intercept) == header.get_slope_inter()
    assert (fields.qform_code, fields.sform_code) == (theirs["qform_code"], theirs["sform_code"])
    assert fields.length_unit == int(theirs["xyzt_units"]) & 7
    np.testing.assert_array_equal(fields.sform, header.get_sform())
    np.testing.assert_array_equal(fields.spacing, theirs["pixdim"][1:4])
    np.testing.assert_array_equal(fields.quaternion, [theirs[f"quatern_{name}"] for name in "bcd"])


@settings(deadline=None, max_examples=25)
@given(seed=integers(0, 10**6), version=sampled_from([1, 2]))
def test_a_qform_alone_places_voxels_as_nibabel_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, version: int
) -> None:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3)
    affine[:3, 3] = rng.normal(size=3) * 100
    path = write_forms(tmp_path_factory.mktemp("q") / "a.nii", None, affine, version=version)
    theirs: Any = nib.load(path)
    expected = RAS_TO_LPS @ theirs.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(place_of_first_voxel(path), expected[:3], atol=1e-4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_and_byte_orders_are_read(tmp_path: Path, version: int, order: str) -> None:
    module: Any = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    header = module(endianness=order)
    header.set_data_dtype(np.dtype(f"{order}i2"))
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    kind(STORED, RAS_2MM, header).to_filename(tmp_path / "a.nii.gz")
    raw = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
    assert raw[:4] == struct.pack(f"{order}i", 348 if version == 1 else 540)
    hu = open_volume_file(tmp_path / "a.nii.gz").read_all()
    np.testing.assert_array_equal(hu, HU[:, ::-1, ::-1])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_compression_is_told_by_content(tmp_path: Path, name: str) -> None:
    path = write_nifti(tmp_path / name, STORED)
    raw = path.read_bytes()
    path.write_bytes(gzip.compress(raw) if name == "a.nii" else gzip.decompress(raw))
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU[:, ::-1, ::-1])


@pytest.mark.parametrize("form", ["sform", "qform"])
@pytest.mark.parametrize(("unit", "mm"), [("micron", 0.001), ("meter", 1000.0), ("unknown", 1.0)])
def test_lengths_are_turned_to_mm(tmp_path: Path, unit: str, mm: float, form: str) -> None:
    affine = np.diag([2.0, 2.0, 2.0, mm]) / mm
    forms = (affine, None) if form == "sform" else (None, affine)
    path = write_forms(tmp_path / "a.nii", *forms, unit=unit)
    np.testing.assert_allclose(open_volume_file(path).spacing_mm, 2.0, rtol=1e-6)


FLIPPED = np.diag([-2.0, 2.0, 2.0, 1.0])


def moved(mm: float) -> npt.NDArray[np.float64]:
    affine = RAS_2MM.copy()
    affine[0, 3] = mm
    return affine


@pytest.mark.parametrize(
    ("qform", "apart"),
    [
        (FLIPPED, "24.00 mm apart"),
        (moved(1.5), "1.50 mm apart"),
        (np.diag([2.0, 2.0, 2.1, 1.0]), "0.40 mm apart"),
        (RAS_2MM[[1, 0, 2, 3]] * [1, 1, -1, 1], "mm apart"),
    ],
)
def test_forms_that_disagree_are_refused(
    tmp_path: Path, qform: npt.NDArray[np.float64], apart: str
) -> None:
    error = refusal_of(write_forms(tmp_path / "a.nii", RAS_2MM, qform))
    assert (error.reason, apart in error.message) == ("bad_value", True), error.message


def test_forms_that_nearly_agree_are_remarked_on(tmp_path: Path) -> None:
    path = write_forms(tmp_path / "a.nii", RAS_2MM, moved(0.25))
    judged = judge_volume_file(path)
    assert (judged.verdict, [reason.code for reason in judged.reasons]) == ("accept", ["bad_value"])
    assert "differ by 0.25 mm; the sform is used" in judged.reasons[0].message
    assert place_of_first_voxel(path) == [0.0, 0.0, 0.0]


def test_forms_that_agree_need_no_word(tmp_path: Path) -> None:
    path = write_forms(tmp_path / "a.nii", moved(0.005), RAS_2MM)
    assert [reason.code for reason in judge_volume_file(path).reasons] == ["ok"]


def test_a_sform_with_a_tolerable_shear_may_have_a_qform_without(tmp_path: Path) -> None:
    sform = RAS_2MM.copy()
    sform[0, 2] = 2 * np.sin(np.radians(0.15))
    path = write_forms(tmp_path / "a.nii", sform, RAS_2MM)
    assert judge_volume_file(path).verdict == "accept"


@pytest.mark.parametrize(
    ("at", "layout", "values", "reason", "message"),
    [
        (70, "<h", (128,), "not_hu", "data type 128"),
        (70, "<h", (1536,), "not_hu", "data type 1536"),
        (70, "<h", (-7,), "not_hu", "data type -7"),
        (108, "<f", (float("nan"),), "bad_value", "byte nan"),
        (108, "<f", (0.0,), "bad_value", "byte 0.0, 352 is the least"),
        (108, "<f", (352.5,), "bad_value", "byte 352.5"),
        (108, "<f", (3e38,), "bad_value", "byte 3"),
        (108, "<f", (1e9,), "truncated", "declared"),
        (112, "<2f", (1.0, float("nan")), "bad_value", "intercept nan"),
        (112, "<2f", (float("inf"), 0.0), "bad_value", "slope inf"),
        (123, "<B", (5,), "bad_value", "length unit 5"),
        (40, "<h", (-3,), "wrong_dimensions", "none voxels"),
        (42, "<3h", (32767, 32767, 32767), "truncated", "declared"),
        (42, "<3h", (7, -6, 5), "wrong_dimensions", "7 x -6 x 5"),
        (280, "<f", (float("nan"),), "bad_value", "no box in space"),
        (280, "<4f", (0.0, 0.0, 0.0, 0.0), "bad_value", "no box in space"),
        (344, "<4B", (0, 0, 0, 0), "not_an_image", "no mark of NIfTI-1"),
        (0, "<i", (347,), "not_an_image", "not a NIfTI header"),
        (254, "<h", (0,), "no_position", "neither sform nor qform"),
        (254, "<h", (-1,), "no_position", "neither sform nor qform"),
    ],
)
def test_a_header_that_cannot_be_trusted_is_refused(
    tmp_path: Path, at: int, layout: str, values: tuple[float, ...], reason: str, message: str
) -> None:
    error = refusal_of(change(write_nifti(tmp_path / "a.nii", STORED), at, layout, *values))
    assert (error.reason, message in error.message) == (reason, True), error.message


@pytest.mark.parametrize("quaternion", [(1.0, 1.0, 1.0), (float("nan"), 0.0, 0.0)])
def test_a_quaternion_that_is_no_rotation_is_refused(
    tmp_path: Path, quaternion: tuple[float, ...]
) -> None:
    path = write_forms(tmp_path / "a.nii", None, RAS_2MM)
    error = refusal_of(change(path, 256, "<3f", *quaternion))
    assert (error.reason, "quaternion" in error.message) == ("bad_value", True)


@pytest.mark.parametrize("slope", [0.0, float("nan")])
def test_no_slope_means_values_as_they_are(tmp_path: Path, slope: float) -> None:
    path = change(write_nifti(tmp_path / "a.nii", STORED), 112, "<2f", slope, 77.0)
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU[:, ::-1, ::-1])


def test_voxels_of_a_pair_that_are_not_there_are_missing(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.hdr", STORED)
    path.with_suffix(".img").unlink()
    error = refusal_of(path)
    assert (error.reason, "a.img" in error.message) == ("missing_data", True)


def test_packed_voxels_of_a_pair_are_read(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.hdr", STORED, version=2)
    voxels = path.with_suffix(".img")
    (tmp_path / "a.img.gz").write_bytes(gzip.compress(voxels.read_bytes()))
    voxels.unlink()
    np.testing.assert_array_equal(open_volume_file(path).read_all(), HU[:, ::-1, ::-1])


EXACT = np.array([[0.7, 0, 0, 1 / 3], [0, 0.7, 0, -0.1], [0, 0, 1.1, 1e-9], [0, 0, 0, 1.0]])


def write_exact(path: Path, content: bytes, *, code: int = 6, version: int = 1) -> Path:
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(STORED, EXACT)
    image.header.set_xyzt_units("mm")
    extension = nibabel.nifti1.Nifti1Extension
    image.header.extensions.append(extension(40, b"something else before it"))
    image.header.extensions.append(extension(code, content))
    image.to_filename(path)
    return path


def exact_text(affine: npt.NDArray[np.float64]) -> bytes:
    return json.dumps({"medvit": {"affine_ras": affine.tolist()}}).encode()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_exact_affine_beside_the_sform_is_used(tmp_path: Path, name: str) -> None:
    path = write_exact(tmp_path / name, exact_text(EXACT))
    judged = judge_volume_file(path)
    assert judged.reasons[0].code == "ok"
    expected = (RAS_TO_LPS @ EXACT)[:3, 3]
    np.testing.assert_allclose(place_of_first_voxel(path), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("change_of", [FLIPPED @ EXACT, EXACT + 1e-4, EXACT * np.nan, EXACT * 1e60])
def test_an_exact_affine_of_another_place_is_not_used(
    tmp_path: Path, change_of: npt.NDArray[np.float64]
) -> None:
    path = write_exact(tmp_path / "a.nii", exact_text(change_of))
    judged = judge_volume_file(path)
    assert (judged.verdict, judged.reasons[0].code) == ("accept", "bad_value")
    assert "is of another place and is not used" in judged.reasons[0].message
    np.testing.assert_allclose(place_of_first_voxel(path), [-1 / 3, 0.1, 1e-9], atol=1e-7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[1, 2]",
        b'{"medvit": 3}',
        b'{"medvit": {"affine_ras": [[1]]}}',
        b"[" * 9999,
    ],
)
def test_other_comments_are_passed_over(tmp_path: Path, content: bytes) -> None:
    path = write_exact(tmp_path / "a.nii", content)
    assert judge_volume_file(path).reasons[0].code == "ok"
    assert open_volume_file(path).shape == HU.shape


@pytest.mark.parametrize("size", [-1, 0, 7, 2**31 - 1])
def test_an_extension_that_lies_about_its_size_is_passed_over(tmp_path: Path, size: int) -> None:
    path = write_exact(tmp_path / "a.nii", exact_text(EXACT))
    change(path, 352, "<i", size)
    np.testing.assert_allclose(place_of_first_voxel(path), [-1 / 3, 0.1, 1e-9], atol=1e-7)
