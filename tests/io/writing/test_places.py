"""Every reader of a written file finds every voxel at the same point of the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, sampled_from

from medvit.io.readers import open_volume
from medvit.io.writing.formats import WRITERS
from tests.io.writing.places import (
    VALUES,
    any_volume,
    assert_same_places,
    lps_zyx_from_ras_xyz,
    seen_by_nibabel,
    seen_by_simpleitk,
)

FOR_ITK = sorted(ending for ending in WRITERS if ending != ".ome.zarr")

SINGLE_PRECISION_MM = 1e-3
"""What readers of NIfTI-1 get from its float32 numbers at 500 mm, with room."""

seeds = integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


@few
@given(seed=seeds, values=sampled_from(VALUES), ending=sampled_from(sorted(WRITERS)))
def test_medvit_reads_back_what_it_wrote(folder: Path, seed: int, values: str, ending: str) -> None:
    volume = any_volume(seed, values)
    path = folder / f"a-{ending.count('.')}{ending}"
    dtype = WRITERS[ending](volume, path)
    assert dtype == (np.int16 if values == "whole" else np.float32)
    read = open_volume(path)
    assert_same_places(volume, read.read_all(), read.affine_lps, within_mm=1e-6)


@few
@given(seed=seeds, values=sampled_from(VALUES), ending=sampled_from(FOR_ITK))
def test_simpleitk_finds_every_voxel_in_its_place(
    folder: Path, seed: int, values: str, ending: str
) -> None:
    pytest.importorskip("SimpleITK")
    volume = any_volume(seed, values)
    # Another stem for each: ITK takes the voxels of b.nii for those of b.nii.gz.
    path = folder / f"b-{ending.count('.')}{ending}"
    dtype = WRITERS[ending](volume, path)
    hu, affine_lps = seen_by_simpleitk(path)
    assert hu.dtype == dtype
    within_mm = SINGLE_PRECISION_MM if "nii" in ending else 1e-9
    assert_same_places(volume, hu, affine_lps, within_mm=within_mm)


@few
@given(seed=seeds, values=sampled_from(VALUES))
def test_nibabel_finds_every_voxel_in_its_place(folder: Path, seed: int, values: str) -> None:
    volume = any_volume(seed, values)
    path = folder / "c.nii"
    dtype = WRITERS[".nii"](volume, path)
    hu, affine_lps = seen_by_nibabel(path)
    assert hu.dtype == dtype
    assert_same_places(volume, hu, affine_lps, within_mm=SINGLE_PRECISION_MM)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("reader", "ending"),
    [("NibabelReader", ".nii"), ("NibabelReader", ".nii.gz")]
    + [("ITKReader", ending) for ending in (".nii", ".nii.gz", ".mha", ".mhd")],
)
def test_monai_finds_every_voxel_in_its_place(tmp_path: Path, reader: str, ending: str) -> None:
    if reader == "ITKReader":
        pytest.importorskip("itk")
    from monai.transforms.io.array import LoadImage

    load: Any = LoadImage(reader=reader, image_only=True, dtype=None)
    for seed in range(8):
        volume = any_volume(seed, VALUES[seed % 3])
        path = tmp_path / f"{seed}{ending}"
        WRITERS[ending](volume, path)
        image = load(str(path))
        affine_lps = lps_zyx_from_ras_xyz(image.affine.numpy())
        hu = image.numpy().transpose(2, 1, 0)
        within_mm = SINGLE_PRECISION_MM if "nii" in ending else 1e-9
        assert_same_places(volume, hu, affine_lps, within_mm=within_mm)
