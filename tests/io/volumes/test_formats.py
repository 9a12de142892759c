from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medvit.io.discover import discover
from medvit.io.readers import open_volume
from medvit.io.sniff import NIFTI_PAIR_ENDING, VOLUME_ENDINGS
from medvit.io.volumes.formats import FILE_READERS, is_volume_file, open_volume_file
from tests.make.nifti import write_nifti
from tests.make.volumes import AFFINE_LPS, HU, write_metaimage, write_nrrd, write_zarr


def test_every_name_of_a_volume_has_a_reader() -> None:
    assert set(FILE_READERS) == {*VOLUME_ENDINGS, NIFTI_PAIR_ENDING}


@pytest.mark.parametrize(
    ("name", "is_volume"),
    [
        ("a.nii", True),
        ("A.NII.GZ", True),
        ("a.mha", True),
        ("a.mhd", True),
        ("a.nrrd", True),
        ("a.nhdr", True),
        ("a.ome.zarr", True),
        ("a.raw", False),
        ("a.gz", False),
        ("nii", False),
        ("a.zarr.zip", False),
    ],
)
def test_names_of_volumes(name: str, is_volume: bool) -> None:
    assert is_volume_file(Path(name)) is is_volume


def affine_ras() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE_LPS[:, [2, 1, 0, 3]]


@pytest.mark.parametrize("box", [(slice(1, 4), slice(0, 2), slice(3, 7)), (slice(None),) * 3])
def test_one_volume_in_every_format_is_one_volume(
    tmp_path: Path, box: tuple[slice, slice, slice]
) -> None:
    paths = [
        write_nifti(tmp_path / "a.nii", HU.transpose(2, 1, 0), affine_ras=affine_ras()),
        write_nifti(tmp_path / "b.nii.gz", HU.transpose(2, 1, 0), affine_ras=affine_ras()),
        write_nifti(tmp_path / "c.hdr", HU.transpose(2, 1, 0), affine_ras=affine_ras()),
        write_metaimage(tmp_path / "d.mha"),
        write_metaimage(tmp_path / "e.mhd", is_packed=True),
        write_nrrd(tmp_path / "f.nrrd", encoding="gzip"),
        write_nrrd(tmp_path / "g.nhdr"),
        write_zarr(tmp_path / "h.ome.zarr"),
    ]
    for path in paths:
        volume = open_volume_file(path)
        np.testing.assert_array_equal(volume.read(*box), HU[box])
        np.testing.assert_allclose(volume.affine_lps, AFFINE_LPS, atol=1e-6)
        assert open_volume(path).shape == volume.shape
    found = discover(tmp_path)
    assert [case.source for case in found.cases] == [path.name for path in paths]
    assert found.other_files == 3  # .img, .zraw and .bin belong to their headers


def test_unpacked_voxels_are_kept_in_the_cache_that_is_given(tmp_path: Path) -> None:
    from medvit.io.chunk_cache import ChunkCache

    cache = ChunkCache(tmp_path / "cache")
    path = write_nrrd(tmp_path / "a.nrrd", encoding="gzip")
    open_volume_file(path, cache=cache)  # the look at a few planes unpacks all
    held = cache.held_bytes()
    assert held > HU.nbytes
    np.testing.assert_array_equal(open_volume_file(path, cache=cache).read_all(), HU)
    assert cache.held_bytes() == held
