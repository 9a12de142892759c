"""What people look at in the folder of a training: curves, confusions, labels, batches."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, PAPER, ACCENT, SECOND = "#1d2733", "#ffffff", "#0b6e99", "#d9822b"
CELL_PX = 160
BAND_PX = 16
MOST_CELLS = 16


def write_results(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write `results.csv`, a line an epoch, and `results.png`, a curve a column."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["epoch"]
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _short(value) for key, value in row.items()})
    shown = [name for name in columns if name != "epoch"]
    if not rows or not shown:
        return
    across = min(3, len(shown))
    down = math.ceil(len(shown) / across)
    figure = new_figure(3.6 * across, 2.7 * down)
    for number, name in enumerate(shown):
        axes = figure.add_subplot(down, across, number + 1)
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), color=ACCENT, marker="o", markersize=2.5, lw=1.4)
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_xlabel("epoch", fontsize=8)
        axes.locator_params(axis="x", integer=True)
        tidy(axes)
        axes.grid(alpha=0.25)
    figure.savefig(folder / "results.png", dpi=120)


def _short(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def write_confusion(
    path: Path, confusion: Sequence[Sequence[int]], *, classes: Sequence[str], title: str
) -> None:
    """Draw a confusion matrix: rows true, columns predicted, shares of a row and counts."""
    counts = np.asarray(confusion, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.62 * len(classes) + 2.4)
    figure = new_figure(side + 0.6, side)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = PAPER if shares[row, column] > 0.55 else INK
            text = f"{int(count)}\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(places, classes, fontsize=8)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    axes.set_title(title, fontsize=10, loc="left")
    figure.savefig(path, dpi=120)


def write_labels(path: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Draw how many images of each class each split has.

    Args:
        path: The picture.
        counts: By split, by class.
    """
    splits = [name for name, by_class in counts.items() if sum(by_class.values())]
    classes = list(next(iter(counts.values())))
    figure = new_figure(7.0, max(2.2, 0.34 * len(classes) * max(1, len(splits)) ** 0.5 + 1.2))
    axes = figure.add_subplot()
    height = 0.8 / max(1, len(splits))
    for number, split in enumerate(splits):
        values = [counts[split][name] for name in classes]
        places = [index + number * height for index in range(len(classes))]
        ink = (ACCENT, SECOND, "#8a97a6")[number % 3]
        bars = axes.barh(places, values, height * 0.92, color=ink, label=split)
        axes.bar_label(bars, fontsize=7, padding=2)
    middle = height * (len(splits) - 1) / 2
    axes.set_yticks([index + middle for index in range(len(classes))], classes, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("images", fontsize=8)
    axes.set_title("labels by split", fontsize=10, loc="left")
    if len(splits) > 1:
        figure.legend(loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    tidy(axes)
    figure.savefig(path, dpi=120)


def write_mosaic(
    path: Path, images: Sequence[NDArray[np.uint8]], *, captions: Sequence[str]
) -> None:
    """Draw up to sixteen images (h, w) or (h, w, 3) in rows of four, a caption below each.

    A caption that begins with `!` is drawn in the colour of mistakes, without the mark.
    """
    shown = list(zip(images, captions, strict=True))[:MOST_CELLS]
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    sheet = Image.new("RGB", (across * CELL_PX, down * (CELL_PX + BAND_PX)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (pixels, caption) in enumerate(shown):
        left, top = number % across * CELL_PX, number // across * (CELL_PX + BAND_PX)
        cell = Image.fromarray(pixels).convert("RGB").resize((CELL_PX - 2, CELL_PX - 2))
        sheet.paste(cell, (left + 1, top + 1))
        ink = "#b3261e" if caption.startswith("!") else INK
        text = _fitted(pen, caption.removeprefix("!"), CELL_PX - 6)
        pen.text((left + 3, top + CELL_PX + 1), text, fill=ink)
    sheet.save(path, quality=90)


def _fitted(pen: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Return a text that fits, its middle left out if need be."""
    kept = len(text)
    shown = text
    while pen.textlength(shown) > width and kept > 4:
        kept -= 1
        shown = f"{text[: kept - kept // 3]}..{text[len(text) - kept // 3 :]}"
    return shown


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure on paper; sides in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, trainings only

    return Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)


def tidy(axes: Any) -> None:
    """Take away what frames a plot without need."""
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
