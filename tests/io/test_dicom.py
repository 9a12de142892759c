from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, tuples

from medvit.errors import ReadError
from medvit.io.dicom import open_plan, read_series
from medvit.io.dicom_repair import Plan, plan_series
from medvit.volume.volume import Volume
from tests.make.dicom import CtSeries, edit, write_series

BOUNDS = tuples(integers(-1, 17), integers(-1, 17))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("series")
    write_series(path)
    return path


def volume_in(folder: Path, *, cache_bytes: int = 1 << 20) -> Volume:
    plan = plan_series(read_series(sorted(folder.iterdir())))
    assert isinstance(plan, Plan)
    return open_plan(plan, cache_bytes=cache_bytes)


@settings(deadline=None)
@given(z=BOUNDS, y=BOUNDS, x=BOUNDS, cache_bytes=integers(0, 1000))
def test_any_box_equals_the_values_written(
    folder: Path, z: tuple[int, int], y: tuple[int, int], x: tuple[int, int], cache_bytes: int
) -> None:
    box = (slice(*z), slice(*y), slice(*x))
    found = volume_in(folder, cache_bytes=cache_bytes).read(*box)
    np.testing.assert_array_equal(found, CtSeries().hu[box])
    assert found.dtype == np.float32


def test_only_the_slices_asked_for_are_opened(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    volume = volume_in(tmp_path)
    paths[0].unlink()
    everything = slice(None)
    assert volume.read(slice(1, 3), everything, everything).shape == (2, 16, 12)
    with pytest.raises(ReadError, match=paths[0].name) as caught:
        volume.read_all()
    assert caught.value.reason == "unreadable"


def test_every_slice_has_its_own_rescale_and_sign(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    stored = CtSeries().hu[2].astype(np.int32) + 2000
    edit(
        paths[2],
        PixelData=(stored // 2).astype("<u2").tobytes(),
        PixelRepresentation=0,
        RescaleSlope="2",
        RescaleIntercept="-2000",
    )
    expected = CtSeries().hu.astype(np.float32)
    expected[2] = stored // 2 * 2 - 2000
    np.testing.assert_array_equal(volume_in(tmp_path).read_all(), expected)


def test_the_affine_leads_from_the_first_voxel_to_the_last_position(tmp_path: Path) -> None:
    series = CtSeries(spacing_mm=(1.25, 0.7, 0.6))
    write_series(tmp_path, series)
    volume = volume_in(tmp_path)
    np.testing.assert_allclose(volume.spacing_mm, series.spacing_mm)
    last = volume.affine_lps @ [4, 0, 0, 1]
    np.testing.assert_allclose(last[:3], series.positions()[4])
