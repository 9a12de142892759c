"""What an image as a whole is, and where on it that shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.data.surface import prepare_grey
from medvit.errors import ModelError
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import ModelCard

Box = tuple[int, int, int, int]

BOX_LEVEL = 0.5
"""A box holds the largest region with at least this share of the map's maximum."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The label of an image, how sure it is, and a located map.

    Attributes:
        label: The most probable class.
        probability: Its calibrated probability.
        probabilities: Of every class; they sum to 1.
        heat: Share of the map's maximum that speaks for `label`, float32 (h, w), 0..1.
        box: x_min, y_min, x_max, y_max in pixels of the image, half-open; None when
            no patch speaks for `label` more than another.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    heat: NDArray[np.float32]
    box: Box | None


@torch.inference_mode()
def judge_image(pixels: NDArray[np.float32], model: nn.Module, card: ModelCard) -> Judgement:
    """Return label, probabilities, map and box of an image of any size.

    The map is what the linear head says of each patch for the label, against the
    mean of the other classes: before pooling, so it adds up to the logits exactly.

    Args:
        pixels: Shape (h, w, 3), values 0..1.
        model: A classifier in evaluation mode.
        card: Its card; classes, `preprocessing.side_px` and `calibration.temperature`.

    Raises:
        ModelError: If the model is not an image classifier with these classes.
    """
    if not isinstance(model, DefectClassifier) or model.head.out_features != len(card.classes):
        msg = (
            f"{card.reference}: judging an image needs a classifier of the card's "
            f"{len(card.classes)} classes, got {type(model).__name__}"
        )
        raise ModelError(msg, hint="choose a model of task `defect` with `medvit models list`")
    grey = prepare_grey(pixels, side_px=int(card.preprocessing["side_px"]))
    device = next(model.parameters()).device
    maps = model.class_maps(torch.from_numpy(grey)[None, None].to(device))[0].float().cpu()
    temperature = float(card.calibration.get("temperature", 1.0))
    shares = (maps.mean(dim=(1, 2)).double() / temperature).softmax(dim=0)
    best = int(shares.argmax())
    heat = heat_of(maps, best, height=pixels.shape[0], width=pixels.shape[1])
    probabilities = dict(zip(card.classes, shares.tolist(), strict=True))
    label = card.classes[best]
    return Judgement(label, probabilities[label], probabilities, heat, box_of(heat))


def heat_of(maps: Tensor, label: int, *, height: int, width: int) -> NDArray[np.float32]:
    """Return where a class shows, scaled so that the strongest place is 1.

    Args:
        maps: Logits of each patch, shape (k, h, w).
        label: Index of the class.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        Shape (height, width), values 0..1; all 0 when the map is flat.
    """
    others = (maps.sum(dim=0) - maps[label]) / (len(maps) - 1)
    margin = maps[label] - others  # (h, w)
    margin = margin - margin.min()
    size = (height, width)
    full = F.interpolate(margin[None, None], size=size, mode="bilinear", align_corners=False)
    peak = float(full.max())
    scaled = full[0, 0] / peak if peak > 0 else torch.zeros(size)
    return scaled.clamp(0.0, 1.0).numpy().astype(np.float32)


def box_of(heat: NDArray[np.float32], *, level: float = BOX_LEVEL) -> Box | None:
    """Return the bounding box of the largest connected region at or above a level.

    Examples:
        >>> box_of(np.array([[0, 1, 0.6], [0, 0, 0]], dtype=np.float32))
        (1, 0, 3, 1)
    """
    if not heat.size or float(heat.max()) <= 0:
        return None
    regions, count = ndimage.label(heat >= level * float(heat.max()))
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    rows, columns = ndimage.find_objects(regions)[int(sizes.argmax())]
    return int(columns.start), int(rows.start), int(columns.stop), int(rows.stop)
