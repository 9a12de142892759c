"""Real series, converted, and read by other programs: against the figures that came with them."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.geometry import index_to_lps, lps_to_index
from medvit.io.readers import open_volume
from medvit.io.writing.formats import WRITERS
from tests.io.writing.places import seen_by_nibabel, seen_by_simpleitk

pytestmark = [pytest.mark.shared_data, pytest.mark.filterwarnings("ignore::UserWarning")]

SERIES = ("lidc/LIDC-IDRI-0001", "dcm_qa_ct/Philips_S21570_S2010", "cip_ct64/dicom")


def seen_by_zarr(path: Path) -> tuple[Any, Any]:
    import zarr

    group: Any = zarr.open_group(path, mode="r")
    return group["0"][:], np.array(group.attrs["medvit"]["affine_lps_zyx"])


def readers_of(ending: str) -> list[Any]:
    if ending == ".ome.zarr":
        return [seen_by_zarr]
    return [seen_by_simpleitk, seen_by_nibabel] if "nii" in ending else [seen_by_simpleitk]


@pytest.mark.parametrize("ending", list(WRITERS))
@pytest.mark.parametrize("name", SERIES)
def test_other_programs_see_what_the_oracle_saw(
    shared_data: Path, tmp_path: Path, name: str, ending: str
) -> None:
    if ending != ".ome.zarr":
        pytest.importorskip("SimpleITK")
    oracles = json.loads((shared_data / "ct/oracle_series.json").read_text())
    oracle = oracles[name]["volumes"]["as_stored"]
    volume = open_volume(shared_data / "ct" / name)
    assert WRITERS[ending](volume, tmp_path / f"a{ending}") == np.int16
    for read in readers_of(ending):
        hu, affine_lps = read(tmp_path / f"a{ending}")
        in_ras = np.ascontiguousarray(hu[:, ::-1, ::-1].transpose(2, 1, 0)).astype("<i2")
        assert hashlib.sha256(in_ras.tobytes()).hexdigest() == oracle["sha256_int16_C"]
        for x, y, z, expected_hu in oracle["probes_RASmm_HU"]:
            index = np.rint(lps_to_index(affine_lps, (-x, -y, z))).astype(int)
            assert hu[tuple(index)] == expected_hu
        corners = list(product(*[(0, length - 1) for length in volume.shape]))
        np.testing.assert_allclose(
            index_to_lps(affine_lps, corners),
            index_to_lps(volume.affine_lps, corners),
            rtol=0,
            atol=2e-4 if "nii" in ending else 1e-9,
        )
