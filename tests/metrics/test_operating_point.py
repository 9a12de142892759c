"""Thresholds by false marks a scan and by a promised miss rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.errors import ConfigError
from medvit.metrics.froc_matching import ScanMatches
from medvit.metrics.operating_point import (
    chosen_threshold,
    operating_thresholds,
    threshold_at_fp,
    threshold_at_miss_rate,
)

THRESHOLDS = {"probability": 0.4, "fp_per_scan_1": 0.5, "fp_per_scan_4": 0.2, "miss_rate_0.1": 0.3}


def scan(hits: list[float], *, false: list[float] | None = None, nodules: int = 0) -> ScanMatches:
    marks = np.array(hits), np.array(false or [])
    return ScanMatches(*marks, nodules or len(hits), 0, 0, len(hits))


@given(st.lists(st.lists(st.floats(0, 1), max_size=9), min_size=1, max_size=9), st.floats(0.1, 5))
def test_no_more_false_marks_than_allowed_reach_the_threshold(
    scans: list[list[float]], rate: float
) -> None:
    threshold = threshold_at_fp([scan([], false=marks) for marks in scans], rate)
    reached = [mark for marks in scans for mark in marks if mark >= threshold]
    assert len(reached) <= rate * len(scans)


def test_the_promise_by_hand() -> None:
    """Nine scans: (missed + 1) / 10 <= 0.3 allows two missed nodules, the two lowest scores."""
    scans = [scan([score / 10]) for score in range(1, 10)]
    assert threshold_at_miss_rate(scans, 0.3) == 0.3
    assert threshold_at_miss_rate([*scans, scan([])], 0.3) == 0.3
    assert threshold_at_miss_rate(scans, 0.1) == 0.1


def test_too_few_scans_are_told_with_how_many_more() -> None:
    with pytest.raises(ConfigError, match=r"a miss rate of 0.05 needs 19 scans .* got 9") as error:
        threshold_at_miss_rate([scan([0.5])] * 9 + [scan([])], 0.05)
    assert error.value.hint == "add 10 scans, or ask for 0.1 or more"


def test_a_detector_that_misses_too_much_promises_nothing() -> None:
    scans = [scan([0.5], nodules=2)] * 30
    with pytest.raises(ConfigError, match=r"misses 0.5 of the nodules .* on 30 scans") as error:
        threshold_at_miss_rate(scans, 0.1)
    assert "0.516 or more" in error.value.hint


def test_the_promise_holds_in_expectation() -> None:
    rng, miss_rate, missed = np.random.default_rng(11), 0.1, []
    for _ in range(300):
        scans = [scan(rng.beta(4, 2, rng.integers(1, 4)).tolist()) for _ in range(30)]
        threshold = threshold_at_miss_rate(scans, miss_rate)
        missed.append(float((rng.beta(4, 2, 200) < threshold).mean()))
    assert 0.05 < np.mean(missed) <= miss_rate + 2 * np.std(missed) / np.sqrt(len(missed))


def test_a_card_holds_what_its_scans_can_stand_for() -> None:
    stored = operating_thresholds([scan([0.5, 0.75], false=[0.25])] * 12)
    assert stored["miss_rate_0.1"] == 0.5
    assert "miss_rate_0.05" not in stored
    assert stored["fp_per_scan_0.5"] > 0.25
    assert stored["fp_per_scan_2"] == 0


def test_the_nearest_stricter_threshold_is_taken() -> None:
    assert chosen_threshold(THRESHOLDS, fp_per_scan=3, miss_rate=None) == 0.5
    assert chosen_threshold(THRESHOLDS, fp_per_scan=4, miss_rate=None) == 0.2
    assert chosen_threshold(THRESHOLDS, fp_per_scan=None, miss_rate=0.15) == 0.3


def test_a_stricter_promise_than_there_is_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--miss-rate 0.02; it has: 0.1") as error:
        chosen_threshold(THRESHOLDS, fp_per_scan=None, miss_rate=0.02)
    assert "49 validation scans" in error.value.hint
    with pytest.raises(ConfigError, match=r"--fp-per-scan 0.5; it has: 1, 4"):
        chosen_threshold(THRESHOLDS, fp_per_scan=0.5, miss_rate=None)
    with pytest.raises(ConfigError, match="one operating point at a time"):
        chosen_threshold(THRESHOLDS, fp_per_scan=1, miss_rate=0.1)
