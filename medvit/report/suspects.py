"""The page of labels that are likely wrong: each image with its label and its neighbours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvit.report.evaluation_page import csv_text
from medvit.report.markup import Html, tag
from medvit.report.splits import styled_page
from medvit.report.thumbnails import data_uri

SHOWN_PX = 132
NEIGHBOUR_PX = 52
MOST_SHOWN = 200
"""Suspects with pictures; the CSV holds all."""

COLUMNS = ("path", "label", "suggested", "confidence", "neighbours")
OWN_STYLE = """
.suspects { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); }
.suspects figure { margin: 0; padding: 12px; background: #fff; border: 1px solid var(--line);
  border-radius: 8px; overflow-wrap: anywhere; display: grid; gap: 10px;
  grid-template-columns: 132px 1fr; align-content: start; }
.suspects img { display: block; image-rendering: auto; border-radius: 4px; }
.suspects .near { display: flex; flex-wrap: wrap; gap: 6px; margin: 0; padding: 0;
  grid-column: 1 / -1; }
.suspects .near li { list-style: none; width: 52px; font-size: 11px; line-height: 1.25; }
.suspects del { color: #a33; } .suspects ins { color: #17663a; text-decoration: none; }
.suspects p { margin: 6px 0 0; font-size: 13px; }
"""
HOW = (
    "Most suspicious first: the mean rank by classifiers that did not see the image or its group, "
    "by a mixture of their losses, and by the nearest images of other groups, which are shown "
    "below each with their labels. Nothing is relabelled by itself."
)

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SuspectRow:
    """A label that is likely wrong.

    Attributes:
        path: As the manifest writes it.
        confidence: Chance that the label is wrong, 0..1.
        neighbours: Paths and labels of the nearest images of other groups.
    """

    path: str
    label: str
    suggested: str
    confidence: float
    neighbours: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SuspectSummary:
    """What the head of the page says.

    Attributes:
        source: Name of the manifest.
        images: Labelled images that were looked at.
        notes: Sentences on what is odd.
    """

    source: str
    images: int
    noise_rate: float
    interval: tuple[float, float]
    mixture_rate: float | None
    notes: tuple[str, ...] = ()


def suspects_csv(rows: Sequence[SuspectRow]) -> str:
    """Return all suspects as a table."""
    return csv_text(
        COLUMNS,
        [
            (
                *(row.path, row.label, row.suggested, f"{row.confidence:.4f}"),
                "; ".join(f"{path} ({label})" for path, label in row.neighbours),
            )
            for row in rows
        ],
    )


def suspects_page(
    summary: SuspectSummary, rows: Sequence[SuspectRow], pictures: Mapping[str, Picture]
) -> str:
    """Return the page; it needs no other file and no network.

    Args:
        pictures: uint8 (h, w) or (h, w, 3) by path, of suspects and neighbours.
    """
    shown = rows[:MOST_SHOWN]
    count = f"{len(shown)} of {len(rows)} suspects are shown; suspects.csv holds all."
    body = tag(
        "main",
        tag("p", "medvit", tag("span", "labels that are likely wrong"), class_="brand"),
        tag("h1", summary.source),
        tag("div", *(tag("p", note, class_="warning") for note in summary.notes)),
        _tiles(summary, len(rows)),
        tag(
            "section",
            tag("h2", "Suspects"),
            tag("p", HOW, class_="quiet"),
            tag("div", *(_card(row, pictures) for row in shown), class_="suspects"),
            tag("p", count, class_="quiet capped"),
        ),
    )
    return styled_page(f"medvit suspects: {summary.source}", body, own_style=OWN_STYLE)


def _tiles(summary: SuspectSummary, suspects: int) -> Html:
    low, high = summary.interval
    other = "none" if summary.mixture_rate is None else f"{summary.mixture_rate:.1%}"
    figures = (
        (f"{summary.images:,}", "labelled images"),
        (f"{summary.noise_rate:.1%}", f"wrong labels, {low:.1%} to {high:.1%}"),
        (other, "by a mixture of losses"),
        (f"{suspects:,}", "suspects"),
    )
    tiles = [tag("div", tag("b", text), tag("span", name), class_="tile") for text, name in figures]
    return tag("div", *tiles, class_="tiles")


def _card(row: SuspectRow, pictures: Mapping[str, Picture]) -> Html:
    near = [
        tag("li", _image(pictures, path, NEIGHBOUR_PX), label) for path, label in row.neighbours
    ]
    said = tag("p", tag("del", row.label), " ", tag("ins", row.suggested or ""), class_="change")
    sure = tag("p", f"chance to be wrong {row.confidence:.2f}", class_="quiet")
    return tag(
        "figure",
        _image(pictures, row.path, SHOWN_PX),
        tag("figcaption", tag("p", row.path, class_="source"), said, sure),
        tag("ul", *near, class_="near"),
    )


def _image(pictures: Mapping[str, Picture], path: str, side_px: int) -> Html:
    if path not in pictures:
        return tag("span", "no picture")
    uri = data_uri(_jpeg(pictures[path], side_px))
    return tag("img", src=uri, alt=Path(path).name, width=side_px)


def _jpeg(image: Picture, side_px: int) -> bytes:
    view = Image.fromarray(image)
    scale = side_px / max(view.size)
    size = max(1, round(view.width * scale)), max(1, round(view.height * scale))
    stream = io.BytesIO()
    view.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=78, optimize=True)
    return stream.getvalue()
