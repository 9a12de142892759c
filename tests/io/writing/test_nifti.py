from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medvit.errors import InputError
from medvit.geometry import affine_from, index_to_lps
from medvit.io.writing.nifti import misplaced_mm, write_nifti
from medvit.volume.volume import Volume, volume_of
from tests.io.writing.places import any_volume, seen_by_simpleitk

HU = np.arange(-30, 30).reshape(3, 4, 5)
AFFINE = affine_from((-10, -20, 30), (0, 0, 2.5), (0, 0.75, 0), (0.5, 0, 0))


def test_lps_is_ras_in_the_file(tmp_path: Path) -> None:
    write_nifti(volume_of(HU, AFFINE), tmp_path / "a.nii")
    image: Any = nib.load(tmp_path / "a.nii")
    expected = [[-0.5, 0, 0, 10], [0, -0.75, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
    for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_array_equal(affine, expected)
        assert code == 1
    assert image.header.get_xyzt_units() == ("mm", "unknown")
    assert struct.unpack_from("<2f", (tmp_path / "a.nii").read_bytes(), 112) == (1.0, 0.0)
    assert image.shape == (5, 4, 3)
    assert image.dataobj[4, 0, 1] == HU[1, 0, 4]


@pytest.mark.parametrize("z_step", [(0, 0, 2.5), (0, 0, -2.5)])
def test_qform_says_which_hand_the_axes_are(tmp_path: Path, z_step: tuple[float, ...]) -> None:
    affine = affine_from((1, 2, 3), z_step, (0, 0.75, 0), (0.5, 0, 0))
    write_nifti(volume_of(HU, affine), tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    (qfac,) = struct.unpack_from("<f", raw, 76)
    # x to the left and y to the back is a half turn in RAS, so z upwards is right-handed.
    assert qfac == np.sign(z_step[2])
    image: Any = nib.load(tmp_path / "a.nii")
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-6)


def test_sform_and_qform_agree_for_any_axes(tmp_path: Path) -> None:
    for seed in range(20):
        write_nifti(any_volume(seed), tmp_path / "a.nii")
        image: Any = nib.load(tmp_path / "a.nii")
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)


def test_an_extension_holds_the_affine_in_double_precision(tmp_path: Path) -> None:
    volume = any_volume(3)
    write_nifti(volume, tmp_path / "a.nii")
    image: Any = nib.load(tmp_path / "a.nii")
    (extension,) = image.header.extensions
    assert extension.get_code() == 6
    exact = np.array(json.loads(extension.get_content())["medvit"]["affine_ras"])
    ras = exact @ [1, 2, 3, 1]
    lps = index_to_lps(volume.affine_lps, (3, 2, 1))
    assert (ras[:3] * (-1, -1, 1)).tolist() == pytest.approx(lps.tolist(), abs=1e-12)
    assert np.abs(image.affine - exact).max() > 0


def test_voxels_begin_where_the_header_says(tmp_path: Path) -> None:
    write_nifti(volume_of(HU, AFFINE), tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    (offset,) = struct.unpack_from("<f", raw, 108)
    assert offset % 16 == 0
    assert raw[int(offset) :] == HU.astype("<i2").tobytes()


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("secret_name.nii.gz", "b.nii.gz", "c.nii"):
        write_nifti(volume_of(HU, AFFINE), tmp_path / name)
    packed = (tmp_path / "secret_name.nii.gz").read_bytes()
    assert packed == (tmp_path / "b.nii.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "c.nii").read_bytes()


def test_an_axis_longer_than_nifti_can_count_is_refused(tmp_path: Path) -> None:
    def read_block(z: slice, y: slice, x: slice) -> Any:
        raise AssertionError

    with pytest.raises(InputError, match=r"a\.nii: NIfTI-1 counts 32767 voxels an axis.*40000"):
        write_nifti(Volume((3, 3, 40000), np.eye(4), read_block), tmp_path / "a.nii")
    assert not list(tmp_path.iterdir())


def test_axes_at_right_angles_are_misplaced_by_nobody() -> None:
    assert misplaced_mm(any_volume(1)) < 1e-9


def test_what_itk_misplaces_is_foretold(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    tilt = np.radians(0.1)
    affine = affine_from((0, 0, 0), (0, 3 * np.sin(tilt), 3 * np.cos(tilt)), (0, 1, 0), (1, 0, 0))
    volume = volume_of(np.full((101, 4, 4), -1.0), affine)
    write_nifti(volume, tmp_path / "a.nii")
    _, seen = seen_by_simpleitk(tmp_path / "a.nii")
    last = (100, 0, 0)
    off_mm = np.linalg.norm(index_to_lps(seen, last) - index_to_lps(affine, last))
    # Half the tilt goes to either axis: 300 mm times the sine of 0.05 degrees.
    assert off_mm == pytest.approx(0.2618, abs=1e-3)
    assert misplaced_mm(volume) == pytest.approx(off_mm, abs=5e-3)
