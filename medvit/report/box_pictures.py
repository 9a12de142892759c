"""Pictures of boxes: batches of a training, precision over recall, labels, confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medvit.report.training_pictures import ACCENT, MOST_CELLS, PAPER, new_figure, tidy

COLOURS = ("#ff9e00", "#19b5fe", "#7bd000", "#ff4f81", "#b388ff", "#00d2a8", "#ffd60a", "#ff6b3d")
CELL_PX = 224
MOST_CURVES = 20


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """A box on a picture; `score` is None for a label."""

    box: tuple[float, float, float, float]
    label: int
    score: float | None = None


def write_box_mosaic(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    boxes: Sequence[Sequence[DrawnBox]],
    *,
    classes: Sequence[str],
) -> None:
    """Draw up to sixteen images (h, w) or (h, w, 3) with their boxes, in rows of four."""
    shown = list(zip(images, boxes, strict=True))[:MOST_CELLS]
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    sheet = Image.new("RGB", (across * CELL_PX, down * CELL_PX), PAPER)
    for number, (pixels, own) in enumerate(shown):
        cell = draw_boxes(pixels, own, classes=classes, side_px=CELL_PX - 2)
        sheet.paste(cell, (number % across * CELL_PX + 1, number // across * CELL_PX + 1))
    sheet.save(path, quality=90)


def draw_boxes(
    pixels: NDArray[np.uint8], boxes: Sequence[DrawnBox], *, classes: Sequence[str], side_px: int
) -> Image.Image:
    """Return an image whose longer side became `side_px`, boxes and their names upon it."""
    scale = side_px / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    picture = Image.fromarray(pixels).convert("RGB").resize(size)
    pen = ImageDraw.Draw(picture)
    for each in boxes:
        ink = COLOURS[each.label % len(COLOURS)]
        x0, y0, x1, y1 = (edge * scale for edge in each.box)
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        pen.rectangle(corners, outline=ink, width=1)
        score = "" if each.score is None else f" {each.score:.2f}"
        text = f"{classes[each.label]}{score}"
        top = max(0.0, y0 - 11)
        left = max(0.0, min(x0, size[0] - pen.textlength(text) - 1))
        pen.text((left, top), text, fill=ink, stroke_width=1, stroke_fill="#10181f")
    return picture


def write_precision_curves(
    path: Path,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], float]],
    *,
    title: str,
) -> None:
    """Draw precision over recall.

    Args:
        path: The picture.
        curves: By class: recalls, precisions and the average precision.
        title: Above the plot.
    """
    figure = new_figure(6.6, 4.4)
    axes = figure.add_subplot()
    for number, (name, (recall, precision, ap)) in enumerate(list(curves.items())[:MOST_CURVES]):
        style = ("-", "--", ":")[number // 8 % 3]
        axes.plot(
            recall, precision, style, lw=1.6, color=f"C{number % 8}", label=f"{name} {ap:.3f}"
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall", fontsize=9)
    axes.set_ylabel("precision", fontsize=9)
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(alpha=0.25)
    tidy(axes)
    if curves:
        figure.legend(loc="outside right upper", fontsize=7, frameon=False, title="AP50")
    figure.savefig(path, dpi=120)


def write_box_labels(
    path: Path, counts: Mapping[str, Mapping[str, int]], sizes_px: NDArray[np.float64]
) -> None:
    """Draw how many boxes of each class each split has, and how large boxes are.

    Args:
        path: The picture.
        counts: By split, by class.
        sizes_px: Width and height of each box (k, 2), in pixels as the network sees them.
    """
    splits = [name for name, by_class in counts.items() if sum(by_class.values())]
    classes = list(next(iter(counts.values())))
    figure = new_figure(9.6, max(3.2, 0.34 * len(classes) * max(1, len(splits)) ** 0.5 + 1.2))
    bars, cloud = figure.subplots(1, 2, width_ratios=(1.5, 1))
    height = 0.8 / max(1, len(splits))
    for number, split in enumerate(splits):
        places = [index + number * height for index in range(len(classes))]
        drawn = bars.barh(
            places,
            [counts[split][name] for name in classes],
            height * 0.92,
            color=(ACCENT, "#d9822b", "#8a97a6")[number % 3],
            label=split,
        )
        bars.bar_label(drawn, fontsize=7, padding=2)
    middle = height * (len(splits) - 1) / 2
    bars.set_yticks([index + middle for index in range(len(classes))], classes, fontsize=8)
    bars.invert_yaxis()
    bars.set_title("boxes by split", fontsize=10, loc="left")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    cloud.scatter(*sizes_px.T, s=6, alpha=0.35, color=ACCENT, linewidths=0)
    cloud.set_xlabel("width, px", fontsize=8)
    cloud.set_ylabel("height, px", fontsize=8)
    cloud.set_title("sizes of boxes", fontsize=10, loc="left")
    for axes in (bars, cloud):
        tidy(axes)
    figure.savefig(path, dpi=120)
