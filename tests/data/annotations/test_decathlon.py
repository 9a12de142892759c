from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medvit.data.annotations.decathlon import collect_decathlon
from medvit.errors import InputError
from tests.make.annotated import write_decathlon
from tests.make.nifti import write_nifti

SHAPE = (12, 14, 40)
"""In the order (i, j, k) of the file: voxels of 2 mm, RAS from the origin."""


def mask_with(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    for box in boxes:
        mask[box] = 1
    return mask


def test_each_part_is_a_finding_with_its_sphere_of_equal_volume(tmp_path: Path) -> None:
    block = (slice(1, 4), slice(2, 5), slice(30, 34))  # across two slabs of slices
    corner = (slice(4, 5), slice(5, 6), slice(34, 35))  # touches the block by a corner
    speck = (slice(10, 11), slice(10, 11), slice(3, 4))
    mask = mask_with(block, corner, speck)
    mask[9, 1, 20:23] = 2  # another label is a finding too
    found = collect_decathlon(write_decathlon(tmp_path, [mask, mask_with()]))
    assert list(found.cases) == ["case_0", "case_1"]
    by_size = sorted(found.nodules, key=lambda mark: -mark.xyzd_mm[3])
    assert [mark.scan for mark in by_size] == ["case_0", "case_0"]
    index = np.argwhere(mask == 1)
    ras_mm = 2 * index[(index[:, 2] > 10)].mean(axis=0)
    assert by_size[0].xyzd_mm == pytest.approx(
        (-ras_mm[0], -ras_mm[1], ras_mm[2], (6 * 37 * 8 / np.pi) ** (1 / 3))
    )
    assert by_size[1].xyzd_mm == pytest.approx((-18, -2, 42, (6 * 3 * 8 / np.pi) ** (1 / 3)))
    (ignored,) = found.ignored
    assert ignored.xyzd_mm[:3] == pytest.approx((-20, -20, 6))
    assert ignored.xyzd_mm[3] == pytest.approx((48 / np.pi) ** (1 / 3))  # 2.5 mm
    assert by_size[0].source.startswith("case_0.nii.gz, part ")


def test_an_image_given_as_mask_or_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    write_decathlon(tmp_path, [mask_with()])
    label = tmp_path / "labelsTr" / "case_0.nii.gz"
    write_nifti(label, np.full(SHAPE, -900, np.int16))
    with pytest.raises(
        InputError, match=r"case_0\.nii\.gz: a mask holds whole numbers .* got -900"
    ):
        collect_decathlon(tmp_path)
    write_nifti(label, mask_with(), affine_ras=np.diag([2.0, 2.0, 2.5, 1.0]))
    with pytest.raises(InputError, match="voxels that are not those of its image"):
        collect_decathlon(tmp_path)


def test_what_the_list_names_must_be_there_and_inside(tmp_path: Path) -> None:
    write_decathlon(tmp_path / "task", [mask_with()])
    contents = tmp_path / "task" / "dataset.json"
    entry = {"image": "./imagesTr/case_0.nii.gz", "label": "labelsTr/lost.nii.gz"}
    outside = {"image": "../secret.nii.gz", "label": "labelsTr/case_0.nii.gz"}
    contents.write_text(json.dumps({"training": [entry, outside]}))
    with pytest.raises(InputError) as error:
        collect_decathlon(tmp_path / "task")
    assert error.value.message == (
        "dataset.json: labelsTr/lost.nii.gz is not there; "
        "dataset.json: ../secret.nii.gz lies outside of its folder"
    )
    contents.write_text(json.dumps({"test": []}))
    with pytest.raises(InputError, match="no list of training images with labels"):
        collect_decathlon(tmp_path / "task")
