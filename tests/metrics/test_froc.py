from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.metrics.froc import (
    FP_PER_SCAN,
    Annotation,
    FrocResult,
    Mark,
    bootstrap_froc,
    froc,
    froc_by_diameter,
    match_scans,
    sensitivity_at,
    thresholds_at,
)
from medvit.metrics.luna16_csv import read_annotations, read_marks, read_series


def mark(uid: str, x_mm: float, probability: float) -> Mark:
    return Mark(uid, x_mm, 0, 0, probability)


def nodule(uid: str, x_mm: float, diameter_mm: float = 10) -> Annotation:
    return Annotation(uid, x_mm, 0, 0, diameter_mm)


def slow_froc(
    marks: list[Mark], nodules: list[Annotation], excluded: list[Annotation], series: list[str]
) -> list[float]:
    """Score by the written rules, one mark at a time."""

    def is_hit(m: Mark, a: Annotation) -> bool:
        diameter_mm = 10 if a.diameter_mm < 0 else a.diameter_mm
        squared = (m.x_mm - a.x_mm) ** 2 + (m.y_mm - a.y_mm) ** 2 + (m.z_mm - a.z_mm) ** 2
        return squared < (diameter_mm / 2) ** 2

    points: list[tuple[float, bool]] = []
    total = 0
    for uid in series:
        here = [m for m in marks if m.series_uid == uid]
        if len(here) > 100:
            limit = sorted((m.probability for m in here), reverse=True)[100]
            here = [m for m in here if m.probability > limit]
        left = list(here)
        for a in (a for a in nodules if a.series_uid == uid):
            total += 1
            hits = [m for m in here if is_hit(m, a)]
            if hits:
                points.append((max(m.probability for m in hits), True))
            left = [m for m in left if m not in hits]
        others = [a for a in excluded if a.series_uid == uid]
        points += [(m.probability, False) for m in left if not any(is_hit(m, a) for a in others)]
    curve = [(0.0, 0.0)]
    for score in sorted({score for score, _ in points}, reverse=True):
        fp = sum(1 for s, hit in points if s >= score and not hit) / len(series)
        curve.append((fp, sum(1 for s, hit in points if s >= score and hit) / total))
    return [_read_off(curve, rate) for rate in FP_PER_SCAN]


def _read_off(curve: list[tuple[float, float]], rate: float) -> float:
    for (x0, y0), (x1, y1) in reversed(list(pairwise(curve))):
        if x0 <= rate < x1:
            return y0 + (y1 - y0) * (rate - x0) / (x1 - x0)
    return curve[-1][1]


def test_two_scans_scored_by_hand() -> None:
    marks = [
        mark("a", 0, 0.9),  # hits
        mark("a", 1, 0.8),  # double
        mark("a", 50, 0.7),  # false
        mark("b", 80, 0.6),  # on an excluded finding
        mark("b", 30, 0.5),  # hits
    ]
    nodules = [nodule("a", 0), nodule("b", 30), nodule("b", -30)]
    result = froc(marks, nodules, excluded=[nodule("b", 80, -1)], series=["a", "b"])
    counts = (result.true_positives, result.false_positives, result.false_negatives)
    assert counts == (2, 1, 1)
    assert (result.ignored_excluded, result.ignored_double, result.candidates) == (1, 1, 5)
    # Points (0, 0), (0, 1/3), (1/2, 1/3), (1/2, 2/3).
    np.testing.assert_allclose(result.sensitivity, [1 / 3, 1 / 3, *[2 / 3] * 5])
    assert result.cpm == pytest.approx((2 / 3 + 10 / 3) / 7)
    assert (result.n_scans, result.n_annotations) == (2, 3)


def test_a_mark_on_the_surface_misses() -> None:
    result = froc([mark("a", 5, 0.9), mark("a", 14.999, 0.8)], [nodule("a", 0), nodule("a", 10)])
    assert result.true_positives == 1
    assert result.false_positives == 1


def test_a_mark_on_a_nodule_is_a_hit_even_within_an_excluded_finding() -> None:
    result = froc([mark("a", 0, 0.9)], [nodule("a", 0)], excluded=[nodule("a", 1)])
    assert (result.true_positives, result.ignored_excluded, result.false_positives) == (1, 0, 0)


def test_ties_at_the_limit_of_100_marks_all_go() -> None:
    marks = [mark("a", 100 + i, 0.5) for i in range(60)] + [mark("a", 0, 0.9)] * 50
    result = froc(marks, [nodule("a", 0)])
    assert (result.candidates, result.ignored_double, result.false_positives) == (50, 49, 0)


def test_exactly_100_marks_all_count() -> None:
    assert froc([mark("a", i, 0.5) for i in range(100)], [nodule("a", 0)]).candidates == 100


def test_tied_scores_interpolate() -> None:
    marks = [mark("a", 0, 0.5), mark("a", 50, 0.5)]
    result = froc(marks, [nodule("a", 0)])
    np.testing.assert_allclose(result.sensitivity, [0.125, 0.25, 0.5, 1, 1, 1, 1])


def test_no_marks_give_no_sensitivity() -> None:
    result = froc([], [nodule("a", 0)])
    assert result.sensitivity == (0.0,) * 7
    assert result.cpm == 0.0


def test_without_false_marks_every_rate_has_the_full_sensitivity() -> None:
    assert froc([mark("a", 0, -3.0)], [nodule("a", 0)]).sensitivity == (1.0,) * 7


def test_only_listed_scans_count() -> None:
    marks = [mark("a", 0, 0.9), mark("x", 0, 0.9)]
    result = froc(marks, [nodule("a", 0), nodule("y", 0)], series=["a", "b", "a"])
    assert (result.n_scans, result.n_annotations, result.false_positives) == (2, 1, 0)


@st.composite
def tables(
    draw: st.DrawFn,
) -> tuple[list[Mark], list[Annotation], list[Annotation], list[str]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    series = ["a", "b", "c"][: draw(st.integers(1, 3))]

    def place() -> tuple[str, float, float, float]:
        x, y, z = rng.integers(0, 12, 3).tolist()
        return str(rng.choice([*series, "unlisted"])), x, y, z

    marks = [Mark(*place(), float(rng.integers(6)) / 5) for _ in range(draw(st.integers(0, 30)))]
    nodules = [Annotation(*place(), float(rng.integers(1, 9))) for _ in range(4)]
    nodules.append(Annotation(series[0], 0, 0, 0, 4))
    excluded = [Annotation(*place(), float(rng.choice([-1, 3]))) for _ in range(3)]
    return marks, nodules, excluded, series


Tables = tuple[list[Mark], list[Annotation], list[Annotation], list[str]]


@settings(max_examples=60, deadline=None)
@given(tables())
def test_it_equals_the_slow_reference(drawn: Tables) -> None:
    marks, nodules, excluded, series = drawn
    result = froc(marks, nodules, excluded=excluded, series=series)
    np.testing.assert_allclose(
        result.sensitivity, slow_froc(marks, nodules, excluded, series), atol=1e-12
    )
    assert list(result.sensitivity) == sorted(result.sensitivity)
    assert result.sensitivity[-1] <= result.max_sensitivity <= 1


@settings(max_examples=20, deadline=None)
@given(tables())
def test_the_order_of_the_rows_does_not_matter(drawn: Tables) -> None:
    marks, nodules, excluded, series = drawn
    expected = froc(marks, nodules, excluded=excluded, series=series)
    again = froc(marks[::-1], nodules[::-1], excluded=excluded[::-1], series=series[::-1])
    np.testing.assert_allclose(again.sensitivity, expected.sensitivity, atol=1e-12)


def test_the_bootstrap_band_holds_the_figure_and_replays() -> None:
    marks = [mark(str(i), (i % 3) * 4, 1 - i / 40) for i in range(40)]
    nodules = [nodule(str(i), 0) for i in range(40)]
    scans = match_scans(marks, nodules)
    band = bootstrap_froc(scans, rng=np.random.default_rng(1), rounds=200)
    assert band == bootstrap_froc(scans, rng=np.random.default_rng(1), rounds=200)
    assert band.cpm[0] < froc(marks, nodules).cpm < band.cpm[1]
    assert len(band.sensitivity) == 7


def test_a_bootstrap_of_equal_scans_has_no_width() -> None:
    marks = [mark(str(i), 0, 0.5) for i in range(5)]
    nodules = [nodule(str(i), 0) for i in range(5)]
    band = bootstrap_froc(match_scans(marks, nodules), rng=np.random.default_rng(0), rounds=50)
    assert band.cpm == (1.0, 1.0)


def slow_bootstrap(marks: list[Mark], nodules: list[Annotation], drawn: list[str]) -> list[float]:
    """Score scans that were drawn, each draw as a scan of its own."""
    series = [f"{number}" for number in range(len(drawn))]
    copies = list(zip(series, drawn, strict=True))
    many = [replace(m, series_uid=new) for new, old in copies for m in marks if m.series_uid == old]
    wanted = [
        replace(a, series_uid=new) for new, old in copies for a in nodules if a.series_uid == old
    ]
    return slow_froc(many, wanted, [], series)


def test_a_bootstrap_scores_drawn_scans_as_scans_of_their_own() -> None:
    marks = [mark("a", 0, 0.9), mark("a", 50, 0.8), mark("b", 3, 0.7), mark("c", 50, 0.75)]
    nodules = [nodule("a", 0), nodule("b", 0), nodule("b", 20), nodule("c", 0)]
    band = bootstrap_froc(match_scans(marks, nodules), rng=np.random.default_rng(3), rounds=40)
    rng = np.random.default_rng(3)
    draws = [[("a", "b", "c")[i] for i in rng.integers(3, size=3)] for _ in range(40)]
    figures = np.sort([slow_bootstrap(marks, nodules, drawn) for drawn in draws], axis=0)
    np.testing.assert_allclose(band.sensitivity, np.column_stack([figures[1], figures[39]]))


def test_a_band_at_other_rates_keeps_the_cpm() -> None:
    marks = [mark(str(i), (i % 3) * 4, 1 - i / 40) for i in range(20)]
    scans = match_scans(marks, [nodule(str(i), 0) for i in range(20)])
    seven = bootstrap_froc(scans, rng=np.random.default_rng(1), rounds=50)
    other = bootstrap_froc(scans, rng=np.random.default_rng(1), rounds=50, rates=(0.3, 1.0))
    assert other.cpm == seven.cpm
    assert other.sensitivity[1] == seven.sensitivity[3]


def test_the_nodules_of_a_size_meet_the_false_marks_of_all() -> None:
    marks = [mark("a", 0, 0.9), mark("a", 50, 0.8), mark("a", 100, 0.7)]
    nodules = [nodule("a", 0, 4), nodule("a", 100, 6), nodule("a", 200, 25)]
    scans = match_scans(marks, nodules)
    small, middle, large = froc_by_diameter(scans, rng=np.random.default_rng(0), rounds=40)
    assert [size.name for size in (small, middle, large)] == [
        "3 to 6 mm",
        "6 to 10 mm",
        "20 mm and more",
    ]
    assert small.result.sensitivity == (1.0,) * 7
    np.testing.assert_allclose(middle.result.sensitivity, [0, 0, 0, 1, 1, 1, 1])
    assert large.result.cpm == large.result.max_sensitivity == 0.0
    assert [size.result.false_positives for size in (small, middle, large)] == [1, 1, 1]


def test_thresholds_keep_to_their_rate() -> None:
    marks = [mark("a", 0, 0.9), mark("a", 50, 0.8), mark("b", 50, 0.7), mark("b", 80, 0.7)]
    scans = match_scans(marks, [nodule("a", 0)], series=["a", "b"])
    assert thresholds_at(scans, (0.0, 0.5, 1.0, 1.5)) == [0.9, 0.8, 0.8, 0.7]
    assert thresholds_at(match_scans([mark("a", 50, 0.8)], [nodule("a", 0)]), (0.5,)) == [None]


def test_every_nodule_keeps_its_place_and_its_best_score() -> None:
    (scan,) = match_scans(
        [mark("a", 0, 0.3), mark("a", 1, 0.6)], [nodule("a", 0), nodule("a", 40, 5)]
    )
    np.testing.assert_array_equal(scan.scores, [0.6, np.nan])
    np.testing.assert_array_equal(scan.places, [[0, 0, 0, 10], [40, 0, 0, 5]])
    assert (scan.series_uid, scan.hits.tolist()) == ("a", [0.6])


def test_scans_without_any_nodule_are_refused() -> None:
    with pytest.raises(ValueError, match="sensitivity needs a nodule: 1 scans hold none"):
        froc([mark("a", 0, 0.5)], [nodule("b", 0)], series=["a"])


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"series a: .* got \[0.0, 0.0, 0.0, nan\]"):
        froc([mark("a", 0, float("nan"))], [nodule("a", 0)])


@cache
def findings_of(path: Path, *, is_excluded: bool = False) -> list[Annotation]:
    return read_annotations(path, is_excluded=is_excluded)


def score_case(luna16: Path, case: str) -> FrocResult:
    listed = luna16 / case / "seriesuids.csv"
    return froc(
        read_marks(luna16 / case / "submission.csv"),
        findings_of(luna16 / "annotations.csv"),
        excluded=findings_of(luna16 / "annotations_excluded.csv", is_excluded=True),
        series=read_series(listed if listed.exists() else luna16 / "seriesuids.csv"),
    )


@pytest.mark.shared_data
@pytest.mark.parametrize("case", ["full888", "s100", "s200_ties"])
def test_it_equals_the_official_tool(shared_data: Path, case: str) -> None:
    luna16 = shared_data / "ct" / "luna16"
    expected = json.loads((luna16 / "expected.json").read_text())[case]
    result = score_case(luna16, case)
    assert (result.n_scans, result.n_annotations) == (expected["scans"], expected["nodules"])
    assert result.candidates == expected["candidates"]
    assert result.true_positives == expected["TP"]
    assert result.false_positives == expected["FP"]
    assert result.false_negatives == expected["FN"]
    assert result.ignored_excluded == expected["ignored_excluded"]
    assert result.ignored_double == expected["ignored_double"]
    figures = [*result.sensitivity, result.cpm, result.max_sensitivity]
    wanted = [*expected["sensitivity_at"].values(), expected["cpm"], expected["max_sensitivity"]]
    np.testing.assert_allclose(figures, wanted, atol=1e-9, rtol=0)


@pytest.mark.shared_data
def test_sizes_add_up_to_the_whole(shared_data: Path) -> None:
    luna16 = shared_data / "ct" / "luna16"
    scans = match_scans(
        read_marks(luna16 / "s100/submission.csv"),
        findings_of(luna16 / "annotations.csv"),
        series=read_series(luna16 / "s100/seriesuids.csv"),
    )
    sizes = froc_by_diameter(scans, rng=np.random.default_rng(0), rounds=40)
    shares = [size.result.n_annotations / 134 for size in sizes]
    parts = np.array([size.result.sensitivity for size in sizes])
    np.testing.assert_allclose(shares @ parts, sensitivity_at(scans, FP_PER_SCAN), atol=1e-12)
