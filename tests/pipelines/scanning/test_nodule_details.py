"""What is told of nodules: slices as DICOM counts them, and nothing that hangs on others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from medvit.geometry import index_to_lps, lps_to_index
from medvit.inference.nodules import Nodule
from medvit.io.readers import open_source
from medvit.volume.lungs import find_lungs
from medvit.volume.pyramid import Pyramid
from medvit.workspace import Workspace
from pipelines.scanning.detectors import Detector, load_detectors
from pipelines.scanning.nodule_details import NoduleObserver
from tests.make.chest import Ball, centred_affine, make_chest
from tests.make.dicom import AXIAL, CtSeries, edit, ramp, write_series
from tests.make.models import register_untrained

SHAPE = (12, 20, 24)
FROM_HEAD = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
STACKS = {
    "axial": CtSeries(ramp(SHAPE)),
    "reversed": CtSeries(ramp(SHAPE), orientation=FROM_HEAD),
    "oblique": CtSeries(ramp(SHAPE), orientation=OBLIQUE),
    "tilted": CtSeries(ramp(SHAPE), orientation=AXIAL, step_lps_mm=(0.0, 0.7, 2.0)),
}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    workspace = Workspace(tmp_path_factory.mktemp("place"))
    register_untrained(workspace.models)
    device = torch.device("cpu")
    return load_detectors({"ct"}, None, device=device, workspace=workspace)["ct"]


def observer_of(folder: Path, detector: Detector) -> NoduleObserver:
    volume = open_source(folder).volume
    pyramid = Pyramid((volume,), (), ())
    return NoduleObserver(pyramid, find_lungs(volume), volume.origins, detector, 1.0)


def nodule_at(observer: NoduleObserver, point_lps_mm: list[float]) -> Nodule:
    x_mm, y_mm, z_mm = point_lps_mm
    index = np.rint(lps_to_index(observer.pyramid.levels[0].affine_lps, point_lps_mm)).astype(int)
    z, y, x = index.tolist()
    return Nodule((x_mm, y_mm, z_mm), (z, y, x), 5.0, 0.5)


def check_slices(observer: NoduleObserver, files: list[Path], *, places: int) -> None:
    """Compare with the headers: the slice told is the one whose plane lies nearest."""
    heads = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    cosines = np.array(heads[0].ImageOrientationPatient, np.float64)
    normal = np.cross(cosines[:3], cosines[3:])
    heights = np.array([np.array(each.ImagePositionPatient, np.float64) @ normal for each in heads])
    volume, rng = observer.pyramid.levels[0], np.random.default_rng(4)
    for _ in range(places):
        place = rng.uniform([0.0] * 3, np.array(volume.shape) - 1.0)
        place[0] = rng.integers(volume.shape[0]) + rng.uniform(-0.4, 0.4)
        point = index_to_lps(volume.affine_lps, place)
        told = observer.observe(nodule_at(observer, point.tolist()), "f-1")
        away_mm = np.abs(heights - point @ normal)
        nearest = int(away_mm.argmin())
        assert told.instance_number == heads[nearest].InstanceNumber
        assert told.slice_location_mm == pytest.approx(heights[nearest], abs=0.05)
        assert told.slice_number == 1 + int((heights < heights[nearest] - 1e-3).sum())
        assert told.frame == 1


@pytest.mark.parametrize("stack", STACKS)
def test_slices_are_named_as_the_series_counts_them(
    stack: str, detector: Detector, tmp_path: Path
) -> None:
    files = write_series(tmp_path, STACKS[stack])
    for number, path in enumerate(files):
        edit(path, InstanceNumber=300 - 7 * number)
    check_slices(observer_of(tmp_path, detector), list(files), places=3)


@pytest.mark.shared_data
@pytest.mark.parametrize("series", ["lidc/LIDC-IDRI-0001", "dicom2nifti/gantrytilting/001"])
def test_slices_of_real_series_are_named_as_their_files(
    series: str, detector: Detector, shared_data: Path
) -> None:
    folder = shared_data / "ct" / series
    files = [path for path in sorted(folder.iterdir()) if path.suffix != ".xml"]
    check_slices(observer_of(folder, detector), files, places=2)


def test_what_is_told_depends_on_the_nodule_alone(detector: Detector) -> None:
    affine = centred_affine((50, 64, 80), (4.0, 5.0, 5.0))
    balls = (Ball((-70, 10, 20), 16), Ball((70, -20, 40), 20))
    volume = make_chest((50, 64, 80), affine, balls=balls)
    pyramid, lungs = Pyramid((volume,), (), ()), find_lungs(volume)
    observer = NoduleObserver(pyramid, lungs, (), detector, 1.0)
    nodules = [
        replace(nodule_at(observer, list(ball.centre_lps_mm)), diameter_mm=ball.diameter_mm)
        for ball in balls
    ]
    together = [observer.observe(each, "f-1") for each in nodules]
    alone = NoduleObserver(pyramid, lungs, (), detector, 1.0).observe(nodules[1], "f-1")
    assert together[1] == alone
    assert [told.side for told in together] == ["right", "left"]
    assert together[0].instance_number is None
    for told, ball in zip(together, balls, strict=True):
        assert told.measured_mm == pytest.approx(ball.diameter_mm, abs=4)  # of 5 mm voxels
        assert told.pleura_mm is not None
        assert 20 < told.pleura_mm < 47  # the lungs are 55 mm deep at their middle
        assert told.score_spread is not None
