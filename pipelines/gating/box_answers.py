"""What a detector says of frozen images: its boxes, in pixels of each file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from medvit.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from medvit.models.card import ModelCard
    from pipelines.gating.frozen_boxes import FrozenBoxes


def boxes_said(
    net: nn.Module, card: ModelCard, frozen: FrozenBoxes, spent: list[float]
) -> list[list[list[Any]]]:
    """Return rows `[label, score, x_min, y_min, x_max, y_max]` of each image, best first.

    Args:
        net: A detector of boxes.
        card: Its card.
        frozen: The images.
        spent: Receives the seconds of each image, reading excluded.

    Raises:
        ModelError: If the model gives no boxes.
        InputError: If an image cannot be read.
    """
    from medvit.inference.box_tiles import find_boxes
    from medvit.io.readers import read_image
    from medvit.models.heads.boxes import BoxDetector

    if not isinstance(net, BoxDetector):
        msg = f"{card.reference} is a {card.architecture.builder}, which gives no boxes"
        raise ModelError(msg, hint="compare detectors of boxes; leave --annotations out for others")
    answers = []
    for image in frozen.cases:
        pixels = read_image(frozen.root / image.path, isolated=False).pixels
        started = time.perf_counter()
        found = find_boxes(pixels, net, card)
        spent.append(time.perf_counter() - started)
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        answers.append([[card.classes[label], score, *box] for label, score, box in rows])
    return answers
