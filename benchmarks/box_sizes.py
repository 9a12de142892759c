"""Training boxes on images of several forms: each in its own, batched by size, or on squares.

Made surfaces joined to strips of 4:1, columns of 1:2, and squares. Both trainings see the same
images at the same scale for as many epochs; where canvases are squares, the rest is ground.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from claims import Claim, write_claims
from PIL import Image

from medvit.data.augment.boxes import BoxViews, BoxViewSettings
from medvit.data.box_images import BoxImages, BoxRow, box_batches, load_box_images
from medvit.data.labels.label_set import Box
from medvit.data.surface_phantom import LABELS, Surface, make_surface
from medvit.learn.boxes import BoxObjective
from medvit.learn.fit import FitSettings, fit
from medvit.models.builders import defect_detector
from pipelines.detecting.validation import answers_of, quick_figures

FORMS = ((1, 4), (2, 1), (1, 1))
"""Surfaces down and across in an image; the forms take turns."""

SIDE_PX, BATCH = 256, 8
GROUNDS = {"own form": 32, "square": SIDE_PX}
"""Of what the sides of a canvas are multiples."""


def write_images(folder: Path, *, count: int, seed: int) -> list[BoxRow]:
    """Write images of one class each, and return them with their boxes."""
    rows = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        down, across = FORMS[number % len(FORMS)]
        parts = [make_surface(rng, number=number) for _ in range(down * across)]
        name = f"{number:04d}.png"
        Image.fromarray(joined(parts, across=across)).save(folder / name)
        boxes = [
            box for place, part in enumerate(parts) for box in boxes_of(part, place, across=across)
        ]
        rows.append(BoxRow(name, tuple(boxes), name))
    return rows


def boxes_of(part: Surface, place: int, *, across: int) -> list[Box]:
    """Return the boxes of a part in pixels of the whole."""
    height, width = part.pixels.shape
    top, left = place // across * height, place % across * width
    return [
        Box(part.label, x0 + left, y0 + top, x1 + left, y1 + top) for x0, y0, x1, y1 in part.boxes
    ]


def joined(parts: Sequence[Surface], *, across: int) -> np.ndarray:
    rows = [parts[start : start + across] for start in range(0, len(parts), across)]
    return np.vstack([np.hstack([part.pixels for part in row]) for row in rows])


def trained(train: BoxImages, val: BoxImages, *, epochs: int, folder: Path) -> dict[str, float]:
    """Train a detector and return seconds, pixels of an epoch and figures on other images."""
    torch.manual_seed(0)
    net = defect_detector(backbone="cnn_small", classes=len(LABELS), width=64)
    batches = box_batches(train, views=BoxViews(BoxViewSettings()), batch_size=BATCH, seed=0)
    settings = FitSettings(epochs=epochs, lr=1e-3, warmup_epochs=1, ema_decay=0.98)
    objective = BoxObjective(net, lr=1e-3, backbone_lr=1e-3)
    wall, processor = time.perf_counter(), time.process_time()
    fit(objective, batches, settings=settings, folder=folder)
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_s": round(time.process_time() - processor, 1),
        "megapixels_an_epoch": round(sum(h * w for h, w in train.sizes) / 1e6, 2),
        **quick_figures(answers_of(net, val, classes=LABELS)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images", type=int, default=126, help="to learn from; half as many held out"
    )
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    rows = {}
    with TemporaryDirectory() as scratch:
        held_out = Path(scratch) / "val"
        for split, count, seed in (("train", given.images, 0), ("val", given.images // 2, 1)):
            (Path(scratch) / split).mkdir()
            rows[split] = write_images(Path(scratch) / split, count=count, seed=seed)
        found = {}
        for ground, multiple_px in GROUNDS.items():
            images = {
                split: load_box_images(
                    Path(scratch) / split,
                    rows[split],
                    classes=LABELS,
                    side_px=SIDE_PX,
                    multiple_px=multiple_px,
                    channels="grey",
                )[0]
                for split in rows
            }
            found[ground] = trained(
                images["train"], images["val"], epochs=given.epochs, folder=held_out / ground
            )
    own, square = found["own form"], found["square"]
    rates = [round(given.images * given.epochs / each["processor_s"], 2) for each in (own, square)]
    maps = [round(each["metrics/mAP50"], 4) for each in (own, square)]
    claims = [
        Claim(
            "images learnt from, for a second of processor time",
            rates[0],
            "images/s",
            "squares",
            rates[1],
            None,
        ),
        Claim(
            "mAP50 on other images after as many epochs", maps[0], "mAP50", "squares", maps[1], None
        ),
    ]
    write_claims(
        "box_sizes", claims, forms=FORMS, side_px=SIDE_PX, epochs=given.epochs, found=found
    )


if __name__ == "__main__":
    main()
