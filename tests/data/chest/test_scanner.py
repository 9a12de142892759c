"""The made scanner blurs and adds noise by the figures it is given."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.data.chest.scanner import add_noise, blur, sharpen


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("step_mm", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.7)])
def test_noise_has_the_spread_asked_for(
    sharpness: float, step_mm: tuple[float, float, float]
) -> None:
    hu = np.zeros((6, 90, 90), np.float32)
    rng = np.random.default_rng(0)
    add_noise(hu, step_mm=step_mm, sd_hu=20, sharpness=sharpness, rng=rng)
    assert float(hu.std()) == pytest.approx(20, rel=0.05)
    assert float(hu.mean()) == pytest.approx(0, abs=1.5)


def test_sharper_kernels_leave_finer_grain() -> None:
    def likeness(sharpness: float) -> float:
        hu = np.zeros((4, 90, 90), np.float32)
        add_noise(
            hu, step_mm=(1, 0.7, 0.7), sd_hu=20, sharpness=sharpness, rng=np.random.default_rng(0)
        )
        return float(np.corrcoef(hu[:, :, 1:].ravel(), hu[:, :, :-1].ravel())[0, 1])

    assert likeness(1.0) < likeness(0.5) < likeness(0.0)


def test_a_point_spreads_to_the_width_asked_for() -> None:
    hu = np.zeros((41, 41, 41), np.float32)
    hu[20, 20, 20] = 1
    seen = blur(hu, psf_fwhm_mm=(4.0, 2.0, 2.0), step_mm=(0.5, 0.5, 0.5))
    line = seen[:, 20, 20]
    over = np.flatnonzero(line > line.max() / 2)
    assert (over[-1] - over[0] + 1) * 0.5 == pytest.approx(4.0, abs=0.6)


def test_a_flat_image_stays_flat() -> None:
    hu = np.full((5, 20, 20), -850, np.float32)
    out = sharpen(
        blur(hu, psf_fwhm_mm=(3, 1, 1), step_mm=(1, 1, 1)), step_mm=(1, 1, 1), strength=0.5
    )
    np.testing.assert_allclose(out, -850, atol=1e-2)
