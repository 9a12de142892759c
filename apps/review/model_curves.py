"""Figures of a model's card for the page of models: FROC with an operating point, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

MARK = "#ff9e00"
LINE = "#4c8dd6"


@dataclass(frozen=True, slots=True)
class Froc:
    """Sensitivity at false positives a scan, with the threshold that gives each.

    Attributes:
        thresholds: None where the card holds none for a point.
    """

    fp_per_scan: tuple[float, ...]
    sensitivity: tuple[float, ...]
    thresholds: tuple[float | None, ...]
    cpm: float
    scans: int
    nodules: int


def froc_of(card: Any) -> Froc | None:
    """Return the FROC that a card holds; None for a model without one."""
    measured = next(filter(_is_froc, card.metrics.values()), None)
    if measured is None:
        return None
    points = tuple(map(float, measured["fp_per_scan"]))
    cuts = tuple(card.thresholds.get(f"fp_per_scan_{point:g}") for point in points)
    return Froc(
        points,
        tuple(map(float, measured["sensitivity"])),
        cuts,
        float(measured["cpm"]),
        int(measured["n_scans"]),
        int(measured["n_annotations"]),
    )


def box_rows(metrics: Mapping[str, Any]) -> list[list[Any]]:
    """Return class, true boxes, AP50 and AP50-95 of a detector, worst AP50 first."""
    per_class = metrics.get("per_class")
    if not isinstance(per_class, Mapping):
        return []
    shown = [(name, each) for name, each in per_class.items() if each.get("ap50") is not None]
    return [
        [name, each["true_boxes"], f"{each['ap50']:.3f}", f"{each['ap50_95']:.3f}"]
        for name, each in sorted(shown, key=lambda pair: pair[1]["ap50"])
    ]


def class_rows(metrics: Mapping[str, Any]) -> list[list[Any]]:
    """Return class, images, recall with its interval, precision and F1, worst recall first."""
    per_class = metrics.get("per_class")
    if not isinstance(per_class, Mapping):
        return []
    rows = []
    known = {name: each for name, each in per_class.items() if "recall" in each}
    for name, figures in sorted(known.items(), key=lambda pair: pair[1]["recall"]):
        low, high = figures.get("recall_low"), figures.get("recall_high")
        interval = "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
        shown = [figures.get(key) for key in ("recall", "precision", "f1")]
        recall, precision, f1 = (None if v is None else f"{v:.3f}" for v in shown)
        rows.append([name, figures.get("n"), recall, interval, precision, f1])
    return rows


def draw_froc(froc: Froc, chosen: int) -> go.Figure:
    """Return the curve with the chosen operating point marked."""
    names = ("sensitivity", "operating point")
    figure = draw_marked(froc.fp_per_scan, froc.sensitivity, chosen, names=names)
    ticks = [f"{value:g}" for value in froc.fp_per_scan]
    figure.update_xaxes(
        type="log", tickvals=froc.fp_per_scan, ticktext=ticks, title="false positives a scan"
    )
    figure.update_yaxes(range=[0, 1.02], title="sensitivity")
    return figure


def draw_marked(
    x: Sequence[float], y: Sequence[float], chosen: int, *, names: tuple[str, str]
) -> go.Figure:
    """Return a line through points, one of which is marked; names of the line and the mark."""
    curve = go.Scatter(x=x, y=y, mode="lines+markers", line={"color": LINE}, name=names[0])
    point = go.Scatter(
        x=[x[chosen]],
        y=[y[chosen]],
        mode="markers",
        marker={"color": MARK, "size": 16, "symbol": "circle-open", "line": {"width": 3}},
        name=names[1],
    )
    figure = go.Figure([curve, point])
    figure.update_layout(height=340, margin={"l": 8, "r": 8, "t": 16, "b": 8}, showlegend=False)
    return figure


def _is_froc(value: Any) -> bool:
    wanted = {"fp_per_scan", "sensitivity", "cpm", "n_scans", "n_annotations"}
    return isinstance(value, Mapping) and wanted <= set(value)
