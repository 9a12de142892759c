from __future__ import annotations

import numpy as np
import pytest

from medvit.geometry import affine_from, index_to_lps
from medvit.volume.orientation import nearest_axes, runs_backwards, upright_affine


def test_the_nearest_axes_are_a_permutation_even_at_45_degrees() -> None:
    half = np.sqrt(0.5)
    affine = affine_from((0, 0, 0), (0, half, half), (0, half, -half), (1, 0, 0))
    assert sorted(nearest_axes(affine)) == [0, 1, 2]


def test_a_sagittal_scan_is_set_upright() -> None:
    # Slices run to the right (-x), rows down (-z), columns to posterior (+y).
    affine = affine_from((90, -100, 200), (-3, 0, 0), (0, 0, -2), (0, 1, 0))
    assert nearest_axes(affine) == (1, 2, 0)
    flips = [runs_backwards(affine, axis, along=row) for row, axis in enumerate((1, 2, 0))]
    assert flips == [True, False, True]
    upright = upright_affine(affine, (1, 2, 0), first=(50.0, 0.0, 20.0), spacing_mm=(1, 2, 3))
    assert upright[:3, :3].tolist() == [[0, 0, 3], [0, 2, 0], [1, 0, 0]]
    assert upright[:3, 3] == pytest.approx(index_to_lps(affine, (20, 50, 0)))
