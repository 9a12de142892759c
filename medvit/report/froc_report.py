"""What a FROC evaluation is kept as: a plot, a page, and tables of scans and nodules."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import numpy as np

from medvit.metrics.froc import FP_PER_SCAN, FrocResult, ScanMatches
from medvit.metrics.froc_figures import GRID, FrocFigures
from medvit.report.charts import Axis, Line, line_chart
from medvit.report.evaluation_page import (
    Heading,
    chart,
    csv_text,
    evaluation_page,
    facts,
    figure_table,
    interval,
    section,
    tiles,
)
from medvit.report.markup import Html
from medvit.report.words import NONE, counted

RATE_NAMES = ("1/8", "1/4", "1/2", "1", "2", "4", "8")
MOST_ROWS = 100
SCAN_COLUMNS = (
    *("seriesuid", "nodules", "found", "missed", "marks", "false_positives"),
    *("ignored_excluded", "ignored_double", "best_false_score"),
)
SCAN_HEADINGS = (
    *("seriesuid", "nodules", "found", "missed", "marks", "false"),
    *("on excluded", "double", "best false"),
)
NODULE_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "score")


def froc_plot(figures: FrocFigures) -> Html:
    """Return the curve with its band over a log2 axis; dots at the seven rates, as SVG."""
    result = figures.result
    low, high = zip(*figures.band.sensitivity, strict=True)
    line = Line(
        "all nodules",
        [(log2(rate), found) for rate, found in zip(GRID, figures.curve, strict=True)],
        marked=[(log2(x), y) for x, y in zip(FP_PER_SCAN, result.sensitivity, strict=True)],
        band=[(log2(rate), a, b) for rate, a, b in zip(GRID, low, high, strict=True)],
    )
    ticks = {log2(rate): name for rate, name in zip(FP_PER_SCAN, RATE_NAMES, strict=True)}
    return line_chart(
        [line],
        x=Axis("false positives per scan", ticks),
        y=Axis("sensitivity", {step / 5: f"{step / 5:.1f}" for step in range(6)}),
        describe=f"FROC curve with its 95 % band; CPM {result.cpm:.3f}",
    )


def froc_page(figures: FrocFigures, heading: Heading, files: Sequence[tuple[str, str]]) -> str:
    """Return the page of an evaluation.

    Args:
        figures: What `measure_froc` returns.
        heading: Title, date and notes.
        files: Names of the tables that were read, by what they are.
    """
    result, band = figures.result, figures.band
    missed = f"{result.false_negatives} of {counted(result.n_annotations, 'nodule')}"
    return evaluation_page(
        heading,
        tiles(
            (f"{result.cpm:.3f}", f"CPM, {interval(*band.cpm)}"),
            (f"{result.sensitivity[3]:.3f}", "at 1 false positive a scan"),
            (f"{result.max_sensitivity:.3f}", "at any score"),
            (f"{result.false_negatives:,}", "missed"),
            (f"{result.n_annotations:,}", "nodules"),
            (f"{result.n_scans:,}", "scans"),
        ),
        section(
            "Sensitivity over false positives",
            f"The band is that of {figures.rounds} draws of scans with replacement.",
            chart(froc_plot(figures)),
        ),
        _rates(figures),
        _sizes(figures),
        section(
            "Missed nodules",
            f"{missed} were hit by no mark at any score. {_capped(result.false_negatives)}",
            figure_table(NODULE_COLUMNS[:-1], _missed_rows(figures)[:MOST_ROWS])
            if result.false_negatives
            else None,
        ),
        section(
            "Scans",
            f"Most missed first, then most false positives. {_capped(result.n_scans)}",
            figure_table(SCAN_HEADINGS, _readable(_worst_first(figures))[:MOST_ROWS]),
        ),
        section(
            "How this was made",
            "Rules of LUNA16: at most 100 marks a scan, hits strictly within the radius, "
            "excluded findings and further marks on a hit nodule count neither way, linear "
            "between scores, all listed scans in the denominator.",
            facts([*files, ("Draws", f"{figures.rounds}, seed {figures.seed}"), _counts(result)]),
        ),
    )


def scan_csv(figures: FrocFigures) -> str:
    """Return a table with a row a scan, in the order of the list."""
    return csv_text(SCAN_COLUMNS, [_scan_row(scan) for scan in figures.scans])


def nodule_csv(figures: FrocFigures) -> str:
    """Return a table with a row a nodule; the score is empty where nobody hit it."""
    return csv_text(NODULE_COLUMNS, [row for scan in figures.scans for row in _nodule_rows(scan)])


def _rates(figures: FrocFigures) -> Html:
    rows = [
        (name, f"{found:.4f}", interval(*edges), NONE if limit is None else f"{limit:.6g}")
        for name, found, edges, limit in zip(
            RATE_NAMES,
            figures.result.sensitivity,
            figures.intervals,
            figures.thresholds,
            strict=True,
        )
    ]
    return section(
        "The seven rates",
        "The score is the lowest that keeps to the rate on these scans; chosen on a test set, it "
        "is no operating point.",
        figure_table(("false positives a scan", "sensitivity", "95 % interval", "score"), rows),
    )


def _sizes(figures: FrocFigures) -> Html:
    rows = [
        (
            size.name,
            size.result.n_annotations,
            f"{size.result.cpm:.3f}",
            interval(*size.band.cpm),
            *(f"{size.result.sensitivity[at]:.3f}" for at in (0, 3, 5)),
            f"{size.result.max_sensitivity:.3f}",
        )
        for size in figures.sizes
    ]
    headings = (
        "diameter",
        "nodules",
        "CPM",
        "95 % interval",
        "at 1/8",
        "at 1",
        "at 4",
        "any score",
    )
    return section(
        "By size",
        "Nodules of one size against the false positives of all; few nodules, wide intervals.",
        figure_table(headings, rows),
    )


def _scan_row(scan: ScanMatches) -> tuple[object, ...]:
    best = float(scan.false.max()) if len(scan.false) else None
    return (
        *(scan.series_uid, scan.nodules, len(scan.hits), scan.nodules - len(scan.hits)),
        *(scan.candidates, len(scan.false), scan.ignored_excluded, scan.ignored_double, best),
    )


def _nodule_rows(scan: ScanMatches) -> list[tuple[object, ...]]:
    return [
        (scan.series_uid, *place, None if np.isnan(score) else score)
        for place, score in zip(scan.places.tolist(), scan.scores.tolist(), strict=True)
    ]


def _missed_rows(figures: FrocFigures) -> list[list[object]]:
    rows = [row for scan in figures.scans for row in _nodule_rows(scan) if row[-1] is None]
    return _readable([row[:-1] for row in rows])


def _worst_first(figures: FrocFigures) -> list[tuple[object, ...]]:
    worst = sorted(figures.scans, key=lambda s: (len(s.hits) - s.nodules, -len(s.false)))
    return [_scan_row(scan) for scan in worst]


def _readable(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    def text(value: object) -> object:
        if value is None:
            return NONE
        return f"{value:.2f}" if isinstance(value, float) else value

    return [[text(value) for value in row] for row in rows]


def _capped(rows: int) -> str:
    if rows <= MOST_ROWS:
        return ""
    return f"The first {MOST_ROWS} of {rows:,} are shown; the CSV beside this file has all."


def _counts(result: FrocResult) -> tuple[str, str]:
    return "Marks", (
        f"{result.candidates:,} counted: {result.true_positives:,} hits, "
        f"{result.false_positives:,} false, {result.ignored_excluded:,} on excluded findings, "
        f"{result.ignored_double:,} further ones on a nodule that was hit"
    )
