"""How deep a point lies in a lung that is a ball."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.geometry import affine_from
from medvit.volume.lungs import LungMap
from medvit.volume.pleura import find_pleura

SIDE_MM = 3.0
CENTRE_MM = np.array([61.3, 58.2, 59.6])


def ball(radius_mm: float) -> LungMap:
    axes = np.ogrid[:40, :40, :40]
    away = sum((a * SIDE_MM - c) ** 2 for a, c in zip(axes, CENTRE_MM[::-1], strict=True))
    mask = np.asarray(away <= radius_mm**2)
    affine = affine_from((0, 0, 0), (0, 0, SIDE_MM), (0, SIDE_MM, 0), (SIDE_MM, 0, 0))
    return LungMap(mask, mask, affine, SIDE_MM, 3.0, -820.0, "", "")


@pytest.mark.parametrize("radius_mm", [25.0, 48.0])
def test_depth_in_a_ball_is_finer_than_the_voxels(radius_mm: float) -> None:
    pleura = find_pleura(ball(radius_mm))
    rng = np.random.default_rng(5)
    ways = rng.normal(size=(120, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    depths_mm = rng.uniform(-4, radius_mm - 1, 120)
    places = (CENTRE_MM + ways * (radius_mm - depths_mm)[:, None]).tolist()
    errors_mm = np.array([pleura.depth_mm((x, y, z)) for x, y, z in places]) - depths_mm
    assert np.abs(errors_mm).mean() < 0.5
    assert np.abs(errors_mm).max() < SIDE_MM / 2


def test_without_lungs_there_is_no_depth() -> None:
    assert find_pleura(ball(0.0)).depth_mm((1.0, 2.0, 3.0)) is None


def test_the_end_of_a_scan_is_no_pleura() -> None:
    whole = ball(48.0)
    cut = LungMap(whole.mask[:20], whole.search[:20], whole.affine_lps, SIDE_MM, 1.0, -820, "", "")
    near_the_cut = (CENTRE_MM[0], CENTRE_MM[1], 56.0)  # 44.4 mm above the lowest point
    assert find_pleura(cut).depth_mm(near_the_cut) == pytest.approx(44.4, abs=1.2)
