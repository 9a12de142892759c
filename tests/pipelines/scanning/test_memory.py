from __future__ import annotations

from pathlib import Path

import numpy as np

from medvit.io.decoding.process import decoder
from medvit.io.readers import read_image
from pipelines.scanning.memory import PeakMeter, current_rss_mb, peak_rss_mb
from tests.make.raster import grey, write_image


def test_a_peak_that_a_case_raises_is_measured() -> None:
    size_mb = peak_rss_mb() - current_rss_mb() + 200
    with PeakMeter() as meter:
        held = np.ones(int(size_mb * 2**20) // 8)
        del held
    assert meter.peak_mb >= 200
    assert meter.peak_mb <= peak_rss_mb()


def test_a_small_case_does_not_inherit_the_peak_of_a_large_one() -> None:
    held = np.ones(300 * 2**20 // 8)
    del held
    with PeakMeter() as meter:
        small = np.ones(2**20 // 8)
    assert small.size
    assert meter.peak_mb < peak_rss_mb() - 150


def test_the_decoder_counts_too(tmp_path: Path) -> None:
    decoder().close()
    before_mb = current_rss_mb()
    read_image(write_image(tmp_path / "a.png", grey()))
    assert current_rss_mb() >= before_mb + 20
    assert peak_rss_mb() >= current_rss_mb() - 20
