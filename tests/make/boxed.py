"""Small made surfaces with boxes: images, COCO boxes and a manifest, as `medvit phantom` makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medvit.data.surface_phantom import make_surface, write_surfaces

Coco = dict[str, list[dict[str, Any]]]


def write_boxed(folder: Path, *, count: int, seed: int = 3) -> Path:
    """Write so many surfaces; every fourth and fifth round of classes is for val and test."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [make_surface(np.random.default_rng((seed, n)), number=n) for n in range(count)]
    write_surfaces(folder, made, seed=seed)
    return folder


def change_coco(folder: Path, change: Callable[[Coco], None]) -> None:
    """Change `coco.json` of a folder in place."""
    file = folder / "coco.json"
    coco = json.loads(file.read_text(encoding="utf-8"))
    change(coco)
    file.write_text(json.dumps(coco), encoding="utf-8")
