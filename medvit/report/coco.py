"""Boxes of images in COCO JSON, as annotation tools and scorers read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from medvit import atomic
from medvit.findings.finding import CaseResult, Finding

READ = ("accept", "repair")


def write_coco(path: Path, results: Iterable[CaseResult], *, classes: Sequence[str] = ()) -> None:
    """Write every image that was read, and its boxes with their probability as `score`.

    Args:
        path: File to write, whole or not at all.
        results: Cases; CT has no boxes and is left out.
        classes: Of the model; they are numbered from 1 in this order, others after them.

    Raises:
        OSError: If the file cannot be written.
    """
    images = sorted(
        (each for each in results if each.case.kind == "image" and each.verdict in READ),
        key=lambda each: (each.case.source, each.case.case_id),
    )
    labels = sorted({finding.label for each in images for finding in each.findings} - {*classes})
    ids = {label: number for number, label in enumerate((*classes, *labels), start=1)}
    annotations: list[dict[str, object]] = []
    for number, each in enumerate(images, start=1):
        for finding in sorted(each.findings, key=lambda f: (-f.probability, f.finding_id)):
            about = {"id": len(annotations) + 1, "image_id": number}
            annotations.append({**about, **_boxed(finding, ids[finding.label])})
    document = {
        "images": [
            {"id": number, "file_name": each.case.source}
            for number, each in enumerate(images, start=1)
        ],
        "categories": [{"id": number, "name": label} for label, number in ids.items()],
        "annotations": annotations,
    }
    text = json.dumps(document, ensure_ascii=False, indent=1)
    # A file name on Linux may be no UTF-8; such bytes are written as \udcff.
    atomic.write_bytes(path, (text + "\n").encode("utf-8", "backslashreplace"))


def _boxed(finding: Finding, category: int) -> dict[str, object]:
    x_min, y_min = finding.x_min or 0, finding.y_min or 0
    width, height = (finding.x_max or 0) - x_min, (finding.y_max or 0) - y_min
    return {
        "category_id": category,
        "bbox": [x_min, y_min, width, height],
        "area": width * height,
        "iscrowd": 0,
        "score": round(finding.probability, 6),
    }
