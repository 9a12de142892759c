from __future__ import annotations

import numpy as np
import pytest

from medvit.data.nodule_crops import scale_hu
from medvit.volume.scale import HuScale


def test_a_range_becomes_another() -> None:
    hu = np.array([-2000, -1000, -650, 400, 3071], dtype=np.float32)
    assert HuScale(-1000, 400, low=-1, high=1).apply(hu).tolist() == [-1, -1, -0.5, 1, 1]
    assert HuScale(-1000, 400, low=10, high=0).apply(hu).tolist() == [10, 10, 7.5, 0, 0]


def test_scaling_in_place_is_scaling() -> None:
    hu = np.random.default_rng(0).uniform(-2000, 3000, (3, 40)).astype(np.float32)
    expected = HuScale(-1000, 400).apply(hu)
    assert expected.dtype == np.float32
    assert HuScale(-1000, 400).apply(hu, out=hu) is hu
    assert (hu == expected).all()


def test_the_detectors_scale_is_the_same_to_the_bit() -> None:
    hu = np.random.default_rng(0).uniform(-2000, 3000, 5000).astype(np.float32)
    assert (HuScale(-1000, 400).apply(hu) == scale_hu(hu)).all()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ((400, -1000), "got 400 to -1000 HU"),
        ((0, 0), "got 0 to 0 HU"),
        ((float("nan"), 1), "got nan to 1 HU"),
        ((0, float("inf")), "got 0 to inf HU"),
        ((0, 1, 0, float("inf")), "finite numbers, got 0 to inf"),
    ],
)
def test_a_range_that_does_not_rise_is_refused(limits: tuple[float, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HuScale(*limits)
