"""Places for nodules lie in the lung, and where their kind says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medvit.data.nodule_sites import draw_site, find_site

Floats = NDArray[np.float32]
LUNG_HU, WALL_HU = -850.0, 45.0


def lung(shape: tuple[int, ...]) -> Floats:
    return np.full(shape, LUNG_HU, np.float32)


def walled() -> tuple[Floats, NDArray[np.bool_]]:
    """Return a block of lung with a wall on one side and one vessel along z."""
    volume = lung((48, 48, 48))
    volume[:, :, :8] = WALL_HU
    volume[:, 23:26, 34:37] = 20
    return volume, volume < 1000 * (np.arange(48) >= 8) - 900


def test_sites_lie_in_the_mask() -> None:
    volume, mask = walled()
    rng = np.random.default_rng(0)
    for _ in range(30):
        site = draw_site(rng, volume, mask)
        assert site is not None
        assert mask[tuple(np.rint(site).astype(int))]


def test_each_kind_of_site_is_where_it_says() -> None:
    volume, mask = walled()
    rng = np.random.default_rng(1)
    pleural = find_site(rng, volume, mask, kind="pleural")
    vascular = find_site(rng, volume, mask, kind="vascular")
    isolated = find_site(rng, volume, mask, kind="isolated")
    assert pleural is not None
    assert pleural[2] < 13
    assert vascular is not None
    assert np.hypot(vascular[1] - 24, vascular[2] - 35) < 7
    assert isolated is not None
    assert isolated[2] > 11


def test_a_fissure_is_found_and_neither_vessel_nor_open_lung_is_one() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 12, (48, 48, 48)).astype(np.float32)
    volume = lung((48, 48, 48))
    volume[:, 23:26, 34:37] = 20
    mask = np.ones(volume.shape, dtype=bool)
    assert find_site(rng, volume + noise, mask, kind="perifissural") is None
    z, y, _ = np.ogrid[:48, :48, :48]
    away_mm = np.abs(z - 20 - 0.5 * (y - 24)) / np.hypot(1, 0.5)
    volume += (120 * np.clip(1 - away_mm, 0, 1)).astype(np.float32)
    for _ in range(5):
        site = find_site(rng, volume + noise, mask, kind="perifissural")
        assert site is not None
        assert abs(site[0] - 20 - 0.5 * (site[1] - 24)) / np.hypot(1, 0.5) < 3


def test_an_empty_mask_has_no_site() -> None:
    volume, mask = walled()
    rng = np.random.default_rng(1)
    assert draw_site(rng, volume, np.zeros_like(mask)) is None
    assert find_site(rng, lung((9, 9, 9)), np.ones((9, 9, 9), bool), kind="vascular") is None
