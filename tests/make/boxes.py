"""Random labelled and predicted boxes in COCO's form, with ties, crowds and empty images."""

from __future__ import annotations

from typing import Any

import numpy as np

Coco = dict[str, list[dict[str, Any]]]


def random_coco(
    rng: np.random.Generator, *, images: int = 6, classes: int = 3, side_px: int = 160
) -> tuple[Coco, list[dict[str, Any]]]:
    """Return labelled boxes and results that partly fit them; ids are not in order."""
    image_ids = (rng.permutation(images) * 7 + 3).tolist()
    class_ids = (rng.permutation(classes) * 2 + 1).tolist()
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in image_ids:
        for _ in range(int(rng.integers(0, 7))):
            box = _box(rng, side_px)
            label = int(rng.choice(class_ids))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3] * float(rng.uniform(0.5, 1)),
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
            for _ in range(int(rng.integers(0, 4))):
                moved = [float(v + rng.integers(-3, 4)) for v in box]
                near = [*moved[:2], max(1.0, moved[2]), max(1.0, moved[3])]
                guess = label if rng.random() < 0.8 else int(rng.choice(class_ids))
                results.append(_result(rng, image, guess, near))
        results += [
            _result(rng, image, int(rng.choice(class_ids)), _box(rng, side_px))
            for _ in range(int(rng.integers(0, 3)))
        ]
    coco: Coco = {
        "images": [{"id": i, "file_name": f"images/{i}.png"} for i in image_ids],
        "categories": [{"id": i, "name": f"class {i}"} for i in class_ids],
        "annotations": annotations,
    }
    return coco, [results[at] for at in rng.permutation(len(results))]


def _box(rng: np.random.Generator, side_px: int) -> list[float]:
    width, height = rng.integers(4, side_px, size=2).tolist()
    x, y = rng.integers(0, side_px, size=2).tolist()
    return [float(x), float(y), float(width), float(height)]


def _result(rng: np.random.Generator, image: int, label: int, box: list[float]) -> dict[str, Any]:
    score = float(rng.integers(1, 8)) / 8
    return {"image_id": image, "category_id": label, "bbox": box, "score": score}
