"""A folder of images through `medvit scan`: images a second, files to findings, heat maps, report.

The light model is `cnn_small` at 96 px, trained here for one epoch (its speed does not depend
on what it learnt). The rival reads the same files in batches of 32 and does nothing but classify
them with a plain ViT of transformers (12 blocks of 192, patches of 16, 224 px), on the same two
cores: no boxes, no pictures, no tables, and a fault in one file ends it.

    python benchmarks/scan_images.py                 # 10,000 images, both engines
    python benchmarks/scan_images.py --images 1000 --engines local
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims import Claim, write_claims
from numpy.typing import NDArray
from PIL import Image
from pretraining import plain_vit
from torch import nn

from medvit.data.surface_phantom import make_surface

IMAGE_PX, SIDE_PX, RIVAL_PX = 200, 96, 224
BATCH = 32
TARGET = 100.0
MODEL = "light"
UNIT = "images a second"


def write_images(folder: Path, count: int) -> list[Path]:
    """Write images of made steel, each another one, and return their paths."""
    folder.mkdir(parents=True)
    made = [make_surface(np.random.default_rng(n), number=n).pixels for n in range(70)]
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        picture = Image.fromarray(made[number % len(made)]).resize((IMAGE_PX, IMAGE_PX))
        grey = np.asarray(picture, np.float32) + rng.normal(0, 4, (IMAGE_PX, IMAGE_PX))
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def medvit(*words: str | Path) -> dict[str, Any]:
    """Run a command, and return its answer."""
    command = [sys.executable, "-m", "apps.cli", *map(str, words), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def make_light_model(workspace: Path) -> None:
    """Train the light model on a few made images."""
    practice = workspace / "practice"
    shared = ("--workspace", workspace)
    medvit("phantom", practice, "--count", "70", "--kind", "surface", *shared)
    medvit(
        *("train", "train/classify_defects", f"data.manifest={practice / 'manifest.csv'}"),
        *(f"model.name={MODEL}", "model.backbone=cnn_small", f"data.side_px={SIDE_PX}"),
        *(f"views.side_px={SIDE_PX - 12}", "train.epochs=1", "train.batch_size=16", *shared),
    )


def scanned(folder: Path, workspace: Path, engine: str, *, images: int) -> dict[str, Any]:
    """Return how fast a folder is scanned, starting the program and writing the report included."""
    started = time.perf_counter()
    answer = medvit(
        *("scan", folder, "--out", workspace / f"out-{engine}", "--model", MODEL),
        *("--engine", engine, "--workspace", workspace),
    )
    seconds = time.perf_counter() - started
    if answer["accept"] != images:
        msg = f"{images} images were written and {answer['accept']} accepted"
        raise RuntimeError(msg)
    return {
        "images": images,
        "seconds": round(seconds, 1),
        "images_per_second": round(images / seconds, 1),
        "peak_mb": answer["measured_peak_mb"],
    }


@torch.inference_mode()
def rival_rate(paths: Sequence[Path]) -> float:
    """Return images a second of reading and classifying alone."""
    net = nn.Sequential(plain_vit(192, 3, side_px=RIVAL_PX), nn.Flatten()).eval()
    net(torch.zeros(BATCH, 1, RIVAL_PX, RIVAL_PX))
    started = time.perf_counter()
    for start in range(0, len(paths), BATCH):
        net(torch.from_numpy(np.stack([_read(path) for path in paths[start : start + BATCH]])))
    return round(len(paths) / (time.perf_counter() - started), 1)


def _read(path: Path) -> NDArray[np.float32]:
    with Image.open(path) as picture:
        grey = picture.convert("L").resize((RIVAL_PX, RIVAL_PX))
        return np.asarray(grey, np.float32)[None] / 255


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--engines", nargs="+", default=["local", "dask"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        paths = write_images(workspace / "images", given.images)
        make_light_model(workspace)
        rows = {
            engine: scanned(workspace / "images", workspace, engine, images=given.images)
            for engine in given.engines
        }
        rival = rival_rate(paths[:1024])
    claims = [
        Claim(
            f"scan of {row['images']} images of {IMAGE_PX}x{IMAGE_PX}, engine {engine}",
            row["images_per_second"],
            UNIT,
            "plain ViT of transformers, classification alone, batches of 32",
            rival,
            TARGET,
        )
        for engine, row in rows.items()
    ]
    write_claims("scan_images", claims, rows=rows)


if __name__ == "__main__":
    main()
