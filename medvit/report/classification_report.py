"""What a classification evaluation is kept as: a confusion matrix, a page, and tables."""

from __future__ import annotations

from collections.abc import Sequence

from medvit.metrics.label_figures import LabelFigures
from medvit.report.charts import matrix_chart
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

MOST_ROWS = 100
CLASS_COLUMNS = ("class", "images", "precision", "recall", "recall_low", "recall_high", "f1")
IMAGE_COLUMNS = ("path", "label", "predicted", "probability")
PREDICTION_COLUMNS = ("path", "label", "probability")


def confusion_plot(figures: LabelFigures) -> Html:
    """Return the confusion matrix as SVG: rows true, columns predicted."""
    scores = figures.scores
    describe = f"Confusion matrix; accuracy {scores['accuracy']:.3f}"
    return matrix_chart(scores["confusion"], figures.classes, describe=describe)


def classification_page(
    figures: LabelFigures, heading: Heading, files: Sequence[tuple[str, str]]
) -> str:
    """Return the page of an evaluation.

    Args:
        figures: What `measure_labels` returns.
        heading: Title, date and notes.
        files: Names of what was read, by what it is.
    """
    scores = figures.scores
    return evaluation_page(
        heading,
        _tiles(figures),
        section(
            "Confusion matrix",
            "Rows are what the images show, columns what the model says; shades are row shares.",
            chart(confusion_plot(figures)),
        ),
        section(
            "By class",
            "The interval of the recall is Wilson's and takes images as independent.",
            figure_table(
                ("class", "images", "precision", "recall", "95 %", "F1"),
                [_class_row(name, row) for name, row in scores["per_class"].items()],
            ),
        ),
        _by_frequency(figures),
        _wrong(figures),
        section(
            "How this was made",
            "Groups of images are drawn whole; balanced accuracy is the mean recall of classes.",
            facts([*files, draws_fact(figures.rounds, groups=figures.groups, seed=figures.seed)]),
        ),
    )


def class_csv(figures: LabelFigures) -> str:
    """Return a table with a row a class."""
    rows = [
        (name, row["n"], *(row[column] for column in CLASS_COLUMNS[2:]))
        for name, row in figures.scores["per_class"].items()
    ]
    return csv_text(CLASS_COLUMNS, rows)


def image_csv(figures: LabelFigures) -> str:
    """Return a table with a row an image: what it shows and what the model says."""
    rows = [(each.path, each.label, each.predicted, each.probability) for each in figures.images]
    return csv_text(IMAGE_COLUMNS, rows)


def prediction_csv(figures: LabelFigures) -> str:
    """Return the predictions as `evaluate classification` reads them."""
    rows = [(each.path, each.predicted, each.probability) for each in figures.images]
    return csv_text(PREDICTION_COLUMNS, rows)


def _tiles(figures: LabelFigures) -> Html:
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
    }
    return tiles(
        *(
            (f"{figures.scores[key]:.3f}", f"{name}, {interval(*figures.intervals[key])}")
            for key, name in names.items()
        ),
        (f"{figures.ece:.3f}", "calibration error"),
        (f"{figures.scores['n']:,}", "images"),
        (f"{figures.groups:,}", "groups"),
    )


def _by_frequency(figures: LabelFigures) -> Html | None:
    if not figures.by_frequency:
        return None
    rows = [
        (name, f"{row['recall']:.3f}", row["n"], ", ".join(row["classes"]))
        for name, row in figures.by_frequency.items()
    ]
    return section(
        "Frequent and rare classes",
        "Mean recall of classes with more than 100, 20 to 100, and less than 20 training images.",
        figure_table(("training images", "recall", "images", "classes"), rows),
    )


def _wrong(figures: LabelFigures) -> Html:
    wrong = [each for each in figures.images if each.label != each.predicted]
    wrong.sort(key=lambda each: (-each.probability, each.path))
    shown = "" if len(wrong) <= MOST_ROWS else f" Here are {MOST_ROWS} of them."
    rows = [
        (each.path, each.label, each.predicted, f"{each.probability:.3f}")
        for each in wrong[:MOST_ROWS]
    ]
    return section(
        "Wrong images",
        f"{len(wrong):,} of {figures.scores['n']:,} images, the surest first.{shown}",
        figure_table(IMAGE_COLUMNS, rows, names=3) if rows else None,
    )


def _class_row(name: str, row: dict[str, float]) -> tuple[object, ...]:
    if not row["n"]:
        return (name, 0, f"{row['precision']:.3f}", NONE, NONE, NONE)
    edges = interval(row["recall_low"], row["recall_high"])
    return (
        *(name, row["n"], f"{row['precision']:.3f}", f"{row['recall']:.3f}", edges),
        f"{row['f1']:.3f}",
    )
