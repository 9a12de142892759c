"""What a detector of boxes says of images as a whole: the label of the best box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medvit.data.manifest import ManifestRow
from medvit.errors import InputError, ReadError
from medvit.inference.box_tiles import find_boxes
from medvit.io.readers import read_image
from medvit.metrics.calibration import PlattScale
from medvit.metrics.label_figures import JudgedImage
from medvit.models.heads.boxes import BoxDetector
from medvit.models.weights import ModelCard
from pipelines.evaluating.classification import judged


def judge_by_boxes(
    net: BoxDetector,
    card: ModelCard,
    *,
    rows: Sequence[tuple[ManifestRow, str]],
    root: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[JudgedImage]:
    """Return what the best box says of each image, below its threshold too.

    Raises:
        InputError: If an image cannot be read; the message names it.
    """
    scale = PlattScale.of(card.calibration) or PlattScale(1.0, 0.0)
    images: list[JudgedImage] = []
    for row, label in rows:
        try:
            pixels = read_image(root / row.path, isolated=False).pixels
        except (ReadError, InputError, OSError) as error:
            msg = f"{root / row.path}: an image to be judged must be readable ({error})"
            raise InputError(msg, hint="check --root and the paths of the manifest") from error
        found = find_boxes(pixels, net, card, least=0.0)
        best = int(found.labels[0]), scale.apply(float(found.scores[0]))
        images.append(judged(row, label, card.classes[best[0]], best[1]))
        if progress is not None:
            progress(len(images), len(rows))
    return images
