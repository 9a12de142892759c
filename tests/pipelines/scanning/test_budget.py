from __future__ import annotations

import numpy as np
import pytest

from medvit.io.case import Reason
from medvit.io.verdict import Triage
from pipelines.scanning.budget import TILE_MB, predict_peak_mb

SOUND = (Reason("ok", ""),)


def ct(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Triage:
    return Triage("accept", SOUND, shape, spacing_mm, np.eye(4))


def test_a_refused_case_takes_nothing() -> None:
    assert predict_peak_mb(Triage("refuse", SOUND), held_mb=300) == 300


def test_an_image_takes_the_classifier_and_its_pixels() -> None:
    judged = Triage("accept", SOUND, (1, 1024, 1024))
    assert predict_peak_mb(judged, held_mb=300) == 300 + 90 + 60 + 96  # 96 bytes x 2**20


def test_a_small_scan_takes_its_planes_and_one_tile() -> None:
    judged = ct((64, 128, 128), (1.0, 1.0, 1.0))  # 2**20 voxels of two bytes
    assert predict_peak_mb(judged, held_mb=300) == 300 + 2 + TILE_MB


@pytest.mark.parametrize("slices", [1_000, 10_000])
def test_more_slices_do_not_take_more_planes_than_the_cache_holds(slices: int) -> None:
    judged = ct((slices, 512, 512), (0.001, 0.7, 0.7))
    assert predict_peak_mb(judged, held_mb=0) >= 256
