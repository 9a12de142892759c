"""What a detection evaluation is kept as: precision over recall, a page, and tables."""

from __future__ import annotations

from collections.abc import Sequence

from medvit.metrics.detection_figures import ClassFigures, DetectionFigures, recalls
from medvit.report.charts import Axis, Line, line_chart
from medvit.report.evaluation_page import (
    Heading,
    chart,
    csv_text,
    draws_fact,
    evaluation_page,
    facts,
    figure_table,
    interval,
    section,
    tiles,
)
from medvit.report.markup import Html
from medvit.report.words import NONE

MOST_CURVES = 16
FIFTHS = {step / 5: f"{step / 5:.1f}" for step in range(6)}
WORDS = {
    "coco": "Rules of COCO: each box takes the best true box that is still free; crowds count "
    "neither way; of each image and class 100 boxes count; mean precision at 101 recalls.",
    "voc2007": "Rules of VOC 2007: each box belongs to its best true box, a second one on it is "
    "false; difficult objects count neither way; mean of the best precision at 11 recalls.",
    "voc2012": "Rules of VOC 2012: each box belongs to its best true box, a second one on it is "
    "false; difficult objects count neither way; area under the falling envelope.",
}
CLASS_COLUMNS = (
    *("class", "true_boxes", "predicted_boxes", "ap50", "ap50_low", "ap50_high"),
    *("ap50_95", "ap50_95_low", "ap50_95_high", "recall50"),
)


def precision_plot(figures: DetectionFigures) -> Html:
    """Return precision over recall at IoU 0.5 of the classes with most true boxes, as SVG."""
    shown = sorted(_known(figures), key=lambda each: -each.score.truths)[:MOST_CURVES]
    kept = [each for each in figures.classes if each in shown]
    lines = [Line(each.name, list(zip(recalls(), each.precision, strict=True))) for each in kept]
    return line_chart(
        lines,
        x=Axis("recall", FIFTHS),
        y=Axis("precision", FIFTHS),
        describe=f"Precision over recall at IoU 0.5; mean AP {figures.map50:.3f}",
    )


def detection_page(
    figures: DetectionFigures, heading: Heading, files: Sequence[tuple[str, str]]
) -> str:
    """Return the page of an evaluation.

    Args:
        figures: What `measure_detection` returns.
        heading: Title, date and notes.
        files: Names of the files that were read, by what they are.
    """
    is_cut = len(_known(figures)) > MOST_CURVES
    more = f" The {MOST_CURVES} classes with most boxes." if is_cut else ""
    return evaluation_page(
        heading,
        _tiles(figures),
        section(
            "Precision over recall",
            f"At IoU 0.5; the best precision at this recall or a higher one.{more}",
            chart(precision_plot(figures)),
        ),
        section(
            "By class",
            "A class without true boxes has no average precision and is not in the mean.",
            figure_table(
                ("class", "true", "predicted", "AP50", "95 %", "AP50:95", "95 %", "recall"),
                [_row(each) for each in figures.classes],
            ),
        ),
        _sizes(figures),
        section(
            "How this was made",
            WORDS[figures.rules],
            facts([*files, draws_fact(figures.rounds, groups=figures.groups, seed=figures.seed)]),
        ),
    )


def class_csv(figures: DetectionFigures) -> str:
    """Return a table with a row a class."""
    nothing = (None, None)
    rows = [
        (
            *(each.name, each.score.truths, each.score.predicted),
            *(each.score.ap50, *(each.ap50_interval or nothing)),
            *(each.score.ap50_95, *(each.ap50_95_interval or nothing)),
            float(each.score.recall[0]) if each.score.truths else None,
        )
        for each in figures.classes
    ]
    return csv_text(CLASS_COLUMNS, rows)


def precision_csv(figures: DetectionFigures) -> str:
    """Return precision at IoU 0.5 by class and recall."""
    rows = [
        (each.name, recall, precision)
        for each in _known(figures)
        for recall, precision in zip(recalls(), each.precision, strict=True)
    ]
    return csv_text(("class", "recall", "precision"), rows)


def _tiles(figures: DetectionFigures) -> Html:
    true = sum(each.score.truths for each in figures.classes)
    predicted = sum(each.score.predicted for each in figures.classes)
    return tiles(
        (f"{figures.map50:.3f}", f"mAP at IoU 0.5, {interval(*figures.map50_interval)}"),
        (f"{figures.map50_95:.3f}", f"mAP 0.5:0.95, {interval(*figures.map50_95_interval)}"),
        (f"{figures.recall:.3f}", "mean recall at any score"),
        (f"{true:,}", "true boxes that count"),
        (f"{predicted:,}", "predicted boxes"),
        (f"{figures.images:,}", "images"),
    )


def _known(figures: DetectionFigures) -> list[ClassFigures]:
    return [each for each in figures.classes if each.score.truths]


def _row(each: ClassFigures) -> tuple[object, ...]:
    score = each.score
    if score.ap50 is None or each.ap50_interval is None or each.ap50_95_interval is None:
        return (each.name, 0, score.predicted, *[NONE] * 5)
    return (
        *(each.name, f"{score.truths:,}", f"{score.predicted:,}"),
        *(f"{score.ap50:.3f}", interval(*each.ap50_interval)),
        *(f"{score.ap50_95:.3f}", interval(*each.ap50_95_interval), f"{score.recall[0]:.3f}"),
    )


def _sizes(figures: DetectionFigures) -> Html | None:
    if not figures.by_size:
        return None
    rows = [
        (name, NONE if value is None else f"{value:.3f}") for name, value in figures.by_size.items()
    ]
    return section(
        "By size",
        "Small objects have less than 32 x 32 px, large ones more than 96 x 96 px.",
        figure_table(("objects", "mAP 0.5:0.95"), rows),
    )
