"""Drawn nodules are as large, as dense and as hazy as the literature has them."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.data.nodule_spec import (
    KIND_SHARES,
    KINDS,
    LARGEST_MM,
    SMALL_MM,
    SMALLEST_MM,
    draw_hard_nodule,
    draw_nodule,
)

DRAWN = [draw_nodule(rng, centre_index_zyx=(0, 0, 0)) for rng in [np.random.default_rng(0)] * 4000]


def test_diameters_follow_luna16() -> None:
    sizes = np.array([spec.diameter_mm for spec in DRAWN])
    assert sizes.min() >= SMALLEST_MM
    assert sizes.max() <= LARGEST_MM
    assert np.median(sizes) == pytest.approx(7.4, abs=0.4)
    assert np.mean(sizes) == pytest.approx(8.3, abs=0.4)


def test_kinds_keep_their_shares() -> None:
    found = [np.mean([spec.kind == kind for spec in DRAWN]) for kind in KINDS]
    assert found == pytest.approx(KIND_SHARES, abs=0.02)


def test_attenuation_is_that_of_the_kind() -> None:
    ranges = {
        "solid": (-50, 60),
        "part_solid": (-650, -450),
        "ground_glass": (-750, -450),
        "calcified": (0, 150),
    }
    for spec in DRAWN:
        low_hu, high_hu = ranges[spec.kind]
        assert low_hu <= spec.hu <= high_hu
        assert (spec.core_share > 0) == (spec.kind in {"part_solid", "calcified"})
        assert spec.core_hu > 200 or spec.kind != "calcified"


def test_only_haze_fades_at_its_edge_and_not_the_whole_of_it() -> None:
    for spec in DRAWN:
        assert (spec.margin_mm > 0) == (spec.kind in {"part_solid", "ground_glass"})
        assert spec.margin_mm <= 0.2 * spec.diameter_mm


def test_hard_nodules_are_hazy_or_small_in_equal_parts() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_hard_nodule(rng, centre_index_zyx=(0, 0, 0)) for _ in range(3000)]
    hazy = [spec.kind in {"part_solid", "ground_glass"} for spec in drawn]
    small = [spec.diameter_mm <= SMALL_MM for spec in drawn]
    assert np.mean(hazy) == pytest.approx(2 / 3 + (0.10 + 0.11) / 3, abs=0.03)
    assert all(is_hazy or is_small for is_hazy, is_small in zip(hazy, small, strict=True))
