"""Made images of hot-rolled steel with one defect each, named as in X-SDD."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medvit import atomic

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]

SIDE_PX = 128
LEAST_PX = 20
"""Smaller parts get a box only where nothing larger is there."""
SPLITS = ("train", "train", "train", "val", "test")


@dataclass(frozen=True, slots=True)
class Surface:
    """One made image.

    Attributes:
        pixels: (h, w), uint8.
        boxes: Half-open boxes (x_min, y_min, x_max, y_max) around the defects.
    """

    label: str
    pixels: NDArray[np.uint8]
    boxes: tuple[Box, ...]


@dataclass(slots=True)
class _Sheet:
    """A sheet of steel being drawn: grey values, where the defects are, and a generator."""

    grey: Floats
    mask: NDArray[np.bool_]
    rng: np.random.Generator

    def darken(self, share: Floats, *, to_grey: float) -> None:
        """Move grey values toward one, by a share 0..1 of the way, and mark the place."""
        self.grey += share * (np.float32(to_grey) - self.grey)
        self.mask |= share > 0.3


def make_surface(rng: np.random.Generator, *, number: int) -> Surface:
    """Make one image; the classes take turns by number."""
    label = LABELS[number % len(LABELS)]
    sheet = _Sheet(_plain_steel(rng), np.zeros((SIDE_PX, SIDE_PX), bool), rng)
    _DRAWERS[label](sheet)
    grain = ndimage.gaussian_filter(rng.standard_normal(sheet.grey.shape), 0.5)
    pixels = sheet.grey + np.float32(rng.uniform(3, 7)) * grain
    joined = label in _SPREAD_OUT
    boxes = _boxes(sheet.mask, joined=joined)
    return Surface(label, np.clip(np.rint(pixels), 0, 255).astype(np.uint8), boxes)


def write_surfaces(folder: Path, surfaces: Sequence[Surface], *, seed: int) -> None:
    """Write `images/<label>/<n>.png`, `manifest.csv` and `coco.json`.

    Each image is its own group; one in five is for validation and one for test.

    Raises:
        OSError: If the folder cannot be written.
    """
    paths = [f"images/{each.label}/{n + 1:05d}.png" for n, each in enumerate(surfaces)]
    for path, surface in zip(paths, surfaces, strict=True):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(surface.pixels).save(folder / path)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group"])
    for n, (path, surface) in enumerate(zip(paths, surfaces, strict=True)):
        split = SPLITS[n // len(LABELS) % len(SPLITS)]
        writer.writerow([path, surface.label, split, f"phantom-{seed}-{n + 1}"])
    atomic.write_text(folder / "manifest.csv", text.getvalue())
    atomic.write_text(folder / "coco.json", json.dumps(_coco(paths, surfaces), indent=1) + "\n")


def _coco(paths: Sequence[str], surfaces: Sequence[Surface]) -> dict[str, object]:
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for n, (path, surface) in enumerate(zip(paths, surfaces, strict=True), start=1):
        height, width = surface.pixels.shape
        images.append({"id": n, "file_name": path, "width": width, "height": height})
        for x0, y0, x1, y1 in surface.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": n,
                    "category_id": LABELS.index(surface.label) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": n, "name": label} for n, label in enumerate(LABELS, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _boxes(mask: NDArray[np.bool_], *, joined: bool) -> tuple[Box, ...]:
    """Return boxes around what was marked: one over all, or one for each separate part."""
    parts = mask.astype(np.int32)
    if not joined:
        parts, _ = ndimage.label(ndimage.binary_dilation(mask, iterations=4))
        parts = parts * mask
    sizes = np.bincount(parts.ravel())[1:]
    return tuple(
        (int(place[1].start), int(place[0].start), int(place[1].stop), int(place[0].stop))
        for place, size in zip(ndimage.find_objects(parts), sizes, strict=True)
        if place is not None and size >= min(LEAST_PX, sizes.max())
    )


def _field(rng: np.random.Generator, *sigmas: float) -> Floats:
    """Return a rolling field of spread 1; sigmas along y and x in pixels."""
    white = rng.standard_normal((SIDE_PX, SIDE_PX))
    smooth = ndimage.gaussian_filter(white, sigmas, mode="wrap")
    scaled: Floats = (smooth / smooth.std()).astype(np.float32)
    return scaled


def _grid() -> tuple[Floats, Floats]:
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)
    return y, x


def _rise(values: Floats, low: float, high: float) -> Floats:
    share: Floats = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return share


def _plain_steel(rng: np.random.Generator) -> Floats:
    """Grey with a slow shade, rolling lines along the strip and faint clouds."""
    y, x = _grid()
    shade = rng.uniform(-14, 14) * (x / SIDE_PX - 0.5) + rng.uniform(-14, 14) * (y / SIDE_PX - 0.5)
    lines = _field(rng, 40, 0.8) * rng.uniform(0.5, 2)
    clouds = _field(rng, 9, 9) * rng.uniform(0.5, 3)
    grey: Floats = (rng.uniform(118, 142) + shade + lines + clouds).astype(np.float32)
    return grey


def _draw_roll_printing(sheet: _Sheet) -> None:
    """Slanted soft lenses with a dark and a bright flank."""
    rng = sheet.rng
    y, x = _grid()
    for _ in range(int(rng.integers(1, 3))):
        slant = rng.uniform(0.05, 0.5)
        cy, cx = rng.uniform(30, 98), rng.uniform(25, 103)
        across = ((x - cx) * np.cos(slant) + (y - cy) * np.sin(slant)).astype(np.float32)
        along = ((y - cy) * np.cos(slant) - (x - cx) * np.sin(slant)).astype(np.float32)
        half = rng.uniform(18, 45)
        width = rng.uniform(2.5, 6) * np.sqrt(np.maximum(1 - (along / half) ** 2, 0))
        lens = np.exp(-((across / np.maximum(width, 0.5)) ** 2)) * (width > 0.6)
        flank = np.exp(-(((across - width - 1.5) / 2) ** 2)) * (width > 0.6)
        sheet.grey += (22 * flank).astype(np.float32)
        sheet.darken((rng.uniform(0.5, 0.9) * lens).astype(np.float32), to_grey=85)


def _draw_iron_ash(sheet: _Sheet) -> None:
    """A dark lump with crumbs about it, and a bright wash below."""
    rng = sheet.rng
    y, x = _grid()
    for _ in range(int(rng.integers(1, 4))):
        cy, cx = rng.uniform(18, 105), rng.uniform(18, 110)
        ry, rx = rng.uniform(4, 11), rng.uniform(6, 16)
        far = np.hypot((y - cy) / ry, (x - cx) / rx) + 0.28 * _field(rng, 2, 2)
        wash = np.exp(-(((x - cx) / rx) ** 2)) * _rise(y, cy, cy + 5) * np.exp(-(y - cy) / 30)
        sheet.grey += (12 * np.clip(wash, 0, 1)).astype(np.float32)
        crumbs = _rise(_field(rng, 1.1, 1.1), 1.5, 1.9) * np.clip(2.4 - far, 0, 1)
        lump = np.maximum(_rise(-far, -1.0, -0.75), crumbs).astype(np.float32)
        sheet.darken(lump * np.float32(rng.uniform(0.7, 0.95)), to_grey=42)


def _draw_plate_scale(sheet: _Sheet) -> None:
    """An upright mottled spindle on a flaky ground."""
    rng = sheet.rng
    y, x = _grid()
    sheet.grey += (14 * _rise(_field(rng, 3, 3), 0.3, 0.9)).astype(np.float32)
    for _ in range(int(rng.integers(1, 3))):
        cy, cx = rng.uniform(40, 100), rng.uniform(20, 108)
        half, wide = rng.uniform(22, 48), rng.uniform(4, 9)
        room = wide * np.maximum(1 - ((y - cy) / half) ** 2, -1) - np.abs(x - cx)
        spindle = _rise((room + 1.2 * _field(rng, 2, 1.5)).astype(np.float32), 0, 1.5)
        holes = 0.55 + 0.45 * _rise(_field(rng, 0.8, 1.6), -0.4, 0.4)
        sheet.darken((spindle * holes).astype(np.float32), to_grey=55)


def _draw_temperature_scale(sheet: _Sheet) -> None:
    """Many dark specks, each with a bright lip, all over."""
    rng = sheet.rng
    size = rng.uniform(0.9, 1.8)
    specks = _field(rng, size, size * rng.uniform(0.8, 1.6))
    level = rng.uniform(1.5, 2.1)
    lip = np.roll(_rise(specks, level, level + 0.3), (1, 1), axis=(0, 1))
    sheet.grey += (16 * lip).astype(np.float32)
    sheet.darken(_rise(specks, level, level + 0.4) * np.float32(rng.uniform(0.5, 0.9)), to_grey=70)


def _draw_red_iron(sheet: _Sheet) -> None:
    """Dark upright tongues with sharp rims."""
    rng = sheet.rng
    tongues = _field(rng, rng.uniform(5, 10), rng.uniform(2, 3.2)) + 0.25 * _field(rng, 1.5, 1)
    level = rng.uniform(0.8, 1.6)
    sheet.darken(_rise(tongues, level, level + 0.2) * np.float32(0.85), to_grey=72)


def _draw_slag(sheet: _Sheet) -> None:
    """Black and glaring torn bands along the strip."""
    rng = sheet.rng
    _, x = _grid()
    for _ in range(int(rng.integers(1, 3))):
        middle = rng.uniform(15, 113) + 2.5 * _field(rng, 12, 60)
        wide = rng.uniform(2.5, 16) * np.maximum(0.8 + 0.3 * _field(rng, 14, 60), 0.4)
        band = _rise((wide - np.abs(x - middle) + 1.5 * _field(rng, 3, 1)).astype(np.float32), 0, 2)
        sheet.darken(band * np.float32(0.9), to_grey=38)
        glare = band * _rise(_field(rng, 2.5, 1.2), 1.0, 1.6)
        sheet.grey += glare * (np.float32(215) - sheet.grey)


def _draw_scratch(sheet: _Sheet) -> None:
    """One to three fine straight lines along the strip."""
    rng = sheet.rng
    y, x = _grid()
    for _ in range(int(rng.integers(1, 4))):
        at = rng.uniform(10, 118) + rng.uniform(-0.04, 0.04) * y
        line = np.exp(-(((x - at) / rng.uniform(0.5, 1.1)) ** 2))
        uneven = np.clip(0.8 + 0.25 * _field(rng, 15, 15), 0, 1)
        sheet.darken((line * uneven).astype(np.float32), to_grey=rng.uniform(35, 80))


_DRAWERS: dict[str, Callable[[_Sheet], None]] = {
    "finishing_roll_printing": _draw_roll_printing,
    "iron_sheet_ash": _draw_iron_ash,
    "oxide_scale_of_plate_system": _draw_plate_scale,
    "oxide_scale_of_temperature_system": _draw_temperature_scale,
    "red_iron": _draw_red_iron,
    "slag_inclusion": _draw_slag,
    "surface_scratch": _draw_scratch,
}
LABELS = tuple(_DRAWERS)
_SPREAD_OUT = frozenset({"oxide_scale_of_temperature_system", "red_iron"})
