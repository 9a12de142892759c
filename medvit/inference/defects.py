"""What an image as a whole is, and where on it that shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn
from torch.nn import functional as F  # noqa: N812

from medvit.data.grey import Channels, prepare_channels
from medvit.errors import ModelError
from medvit.inference.evidence import FlatGrids, ask, evidence_map
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import ModelCard

Box = tuple[int, int, int, int]

BOX_LEVEL = 0.5
"""A box holds the largest region with at least this share of the map's maximum."""

BLUR_PATCHES = 1.0
"""Sigma of the blur that joins the patches of one defect, in patches."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The label of an image, how sure it is, and a located map.

    Attributes:
        label: The most probable class.
        probability: Its calibrated probability.
        probabilities: Of every class; they sum to 1.
        heat: Square root of what speaks for `label`, so that the weaker parts of a
            defect show; float32 (h, w), 0..1, the strongest place is 1.
        features: (d,), what the head reads.
        box: x_min, y_min, x_max, y_max in pixels of the image, half-open; None when
            nothing speaks for `label` more than a flat image would.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    heat: NDArray[np.float32]
    box: Box | None
    features: NDArray[np.float32]


def judge_image(
    pixels: NDArray[np.float32],
    model: nn.Module,
    card: ModelCard,
    *,
    flats: FlatGrids | None = None,
) -> Judgement:
    """Return label, probabilities, map and box of an image of any size.

    Args:
        pixels: Shape (h, w, 3), values 0..1.
        model: A classifier in evaluation mode.
        card: Its card; classes, `preprocessing.side_px` and `calibration.temperature`.
        flats: What is kept from image to image, of this model; made anew if not given.

    Raises:
        ModelError: If the model is not an image classifier with these classes.
    """
    if not isinstance(model, DefectClassifier) or model.classes != len(card.classes):
        msg = (
            f"{card.reference}: judging an image needs a classifier of the card's "
            f"{len(card.classes)} classes, got {type(model).__name__}"
        )
        raise ModelError(msg, hint="choose a model of task `defect` with `medvit models list`")
    how = card.preprocessing
    channels: Channels = how.get("channels", "grey")
    seen = prepare_channels(pixels, side_px=int(how["side_px"]), channels=channels)
    image = torch.from_numpy(seen)[None].to(next(model.parameters()).device)
    answer = ask(model, image)
    logits = answer.logits.detach()[0].double().cpu()
    shares = (logits / float(card.calibration.get("temperature", 1.0))).softmax(dim=0)
    best = int(shares.argmax())
    evidence = evidence_map(model, image, best, answer=answer, flats=flats).float().cpu().numpy()
    heat = heat_of(evidence, height=pixels.shape[0], width=pixels.shape[1])
    label = card.classes[best]
    probabilities = dict(zip(card.classes, shares.tolist(), strict=True))
    read = answer.features.detach()[0].float().cpu().numpy()
    return Judgement(label, probabilities[label], probabilities, heat, box_of(heat), read)


def heat_of(evidence: NDArray[np.float32], *, height: int, width: int) -> NDArray[np.float32]:
    """Return the evidence for a class as a map of the image.

    Args:
        evidence: What each patch adds, shape (h, w); what it takes away is left out.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        Square root of the share of the strongest place, shape (height, width), 0..1;
        all 0 when no patch adds anything.
    """
    joined = ndimage.gaussian_filter(np.maximum(evidence, 0.0), BLUR_PATCHES, mode="constant")
    grid = torch.from_numpy(joined)[None, None]
    full = F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    peak = float(full.max())
    if peak <= 0:
        return np.zeros((height, width), dtype=np.float32)
    scaled: NDArray[np.float32] = (full / peak).clamp(0.0, 1.0).sqrt().numpy()
    return scaled


def box_of(heat: NDArray[np.float32], *, level: float = BOX_LEVEL) -> Box | None:
    """Return the bounding box of the largest connected region at or above a level.

    Examples:
        >>> box_of(np.array([[0, 1, 0.6], [0, 0, 0]], dtype=np.float32))
        (1, 0, 3, 1)
    """
    if not heat.size or float(heat.max()) <= 0:
        return None
    region = (heat >= level * float(heat.max())).astype(np.uint8)
    _, _, found, _ = cv2.connectedComponentsWithStats(region, connectivity=4)
    largest = found[1 + int(found[1:, cv2.CC_STAT_AREA].argmax())]
    left, top, width, height = (int(edge) for edge in largest[:4])
    return left, top, left + width, top + height
