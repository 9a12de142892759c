"""Maps of one image or one nodule, each with figures of how true it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.data.grey import Channels, prepare_channels
from medvit.data.nodule_crops import HIGH_HU, LOW_HU
from medvit.errors import ConfigError, ModelError
from medvit.explain.eigencam import eigen_cam
from medvit.explain.faithfulness import Faithfulness, measure_faithfulness
from medvit.explain.gradcam import grad_cam
from medvit.explain.nodules import LEAST_REACH, SIDE, nodule_grad_cam, nodule_score
from medvit.explain.rollout import attention_rollout
from medvit.findings.finding import Finding
from medvit.geometry import Affine, lps_to_index
from medvit.inference.evidence import evidence_map
from medvit.models.heads.centre import NoduleDetector
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import ModelCard
from medvit.volume.pyramid import Pyramid
from medvit.volume.resample import VoxelGrid
from medvit.volume.scale import HuScale

Method = Literal["gradcam", "eigencam", "rollout", "evidence"]
MapOf = Callable[[DefectClassifier, Tensor, int], Tensor]
METHODS: dict[Method, MapOf] = {
    "gradcam": grad_cam,
    "eigencam": eigen_cam,
    "rollout": attention_rollout,
    "evidence": lambda model, image, label: evidence_map(model, image, label).clamp_min(0),
}
CLASS_SPECIFIC: tuple[Method, ...] = ("gradcam", "evidence")
"""The others give one map for all classes: where the network looked."""

BLUR_CELLS = 1.0
"""Sigma that joins the cells of one defect, in cells of the map's own grid."""

BLUR_SHARE = 1 / 16
"""Sigma of the blurred image that stands where the image is gone, of its side."""

LUNG_HU = -860.0
"""What stands where a nodule is gone."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """How carefully a map is measured.

    Attributes:
        steps: Pieces in which the image goes and comes.
        random_maps: Maps of noise to compare with.
        seed: Of that noise.
    """

    steps: int = 16
    random_maps: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """A map, what it explains, and how true it is.

    Attributes:
        label: The class that was asked about.
        probability: What the model gives it.
        pixels: What is shown under the map, (h, w, 3) in 0..1.
        heat: On `pixels`, (h, w) in 0..1; the strongest place is 1.
        arrays: For further work: the map on its own grid, and where that lies.
    """

    label: str
    probability: float
    pixels: NDArray[np.float32]
    heat: NDArray[np.float32]
    faithfulness: Faithfulness
    arrays: dict[str, NDArray[Any]]


def explain_image(
    pixels: NDArray[np.float32],
    model: nn.Module,
    card: ModelCard,
    *,
    method: Method = "gradcam",
    label: str = "",
    rounds: Rounds | None = None,
) -> Explanation:
    """Return where in an image a classifier sees a class, or where it looked.

    Args:
        pixels: Shape (h, w, 3), values 0..1.
        label: The class to explain; the most probable one if empty.

    Raises:
        ModelError: If the model is no classifier of images, or lacks what the method needs.
        ConfigError: If the model does not know the class.
    """
    model = _classifier(model, card)
    how = card.preprocessing
    channels = cast("Channels", how.get("channels", "grey"))
    seen = prepare_channels(pixels, side_px=int(how["side_px"]), channels=channels)
    image = torch.from_numpy(seen)[None].to(next(model.parameters()).device)
    temperature = float(card.calibration.get("temperature", 1.0))

    def shares(images: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities: Tensor = (model(images).double() / temperature).softmax(dim=1)
            return probabilities

    sure = shares(image)[0]
    place = _place_of(label, card) if label else int(sure.argmax())
    cells = METHODS[method](model, image, place).detach()
    heat = _spread(cells, sides=(image.shape[2], image.shape[3]))
    sigma = BLUR_SHARE * image.shape[2]
    blurred = ndimage.gaussian_filter(image.cpu().numpy(), (0, 0, sigma, sigma))
    measured = _measured(
        lambda images: shares(images)[:, place],
        image,
        heat,
        filler=torch.from_numpy(blurred).to(image),
        rounds=rounds or Rounds(),
        grain_px=BLUR_CELLS * image.shape[2] / cells.shape[0],
    )
    full = F.interpolate(heat[None, None], size=pixels.shape[:2], mode="bilinear")[0, 0]
    return Explanation(
        card.classes[place],
        float(sure[place]),
        pixels,
        full.cpu().numpy(),
        measured,
        {"map": cells.cpu().numpy(), "seen": seen},
    )


def explain_nodule(
    pyramid: Pyramid,
    finding: Finding,
    model: nn.Module,
    card: ModelCard,
    *,
    method: Method = "gradcam",
    rounds: Rounds | None = None,
) -> Explanation:
    """Return what around a finding of a scan raises the detector's score there.

    Raises:
        ModelError: If the model is no detector of nodules.
        ConfigError: If the method is another one than gradcam.
        ReadError: If the voxels cannot be read.
    """
    if not isinstance(model, NoduleDetector):
        msg = f"{card.reference}: a nodule is explained by a detector, got {type(model).__name__}"
        raise ModelError(msg, hint="choose a model of task `nodule` with `medvit models list`")
    if method != "gradcam":
        msg = f"findings of CT are explained by gradcam alone, got {method}"
        raise ConfigError(msg, hint="leave --method out")
    spacing_mm = float(card.preprocessing.get("spacing_mm", 1.0))
    values, affine = _box_around(pyramid, finding, spacing_mm)
    box = torch.from_numpy(values)[None, None].to(next(model.parameters()).device)
    reach = ceil(max(LEAST_REACH, (finding.diameter_mm or 0.0) / 2 / spacing_mm))
    cells = nodule_grad_cam(model, box, reach=reach)
    heat = _shares_of_peak(cells)

    def score(boxes: Tensor) -> Tensor:
        return nodule_score(model, boxes, reach=reach)

    lung = (LUNG_HU - LOW_HU) / (HIGH_HU - LOW_HU)
    measured = _measured(
        score,
        box,
        heat,
        filler=torch.full_like(box, lung),
        rounds=rounds or Rounds(),
        grain_px=model.stride,
    )
    with torch.no_grad():
        probability = float(score(box)[0])
    pixels = np.repeat(values[SIDE // 2, :, :, None], 3, axis=2)
    slab = heat.cpu().numpy()
    arrays = {"map": slab, "seen": values, "affine_lps": affine}
    return Explanation(finding.label, probability, pixels, slab[SIDE // 2], measured, arrays)


def _classifier(model: nn.Module, card: ModelCard) -> DefectClassifier:
    if isinstance(model, DefectClassifier) and model.classes == len(card.classes):
        return model
    msg = (
        f"{card.reference}: maps are made of classifiers of images and detectors of nodules, "
        f"got {type(model).__name__}"
    )
    raise ModelError(msg, hint="name a classifier with --model; see `medvit models list`")


def _place_of(label: str, card: ModelCard) -> int:
    if label in card.classes:
        return card.classes.index(label)
    msg = f"{card.reference} does not know the class {label!r}"
    raise ConfigError(msg, hint=f"its classes are {', '.join(card.classes)}")


def _box_around(
    pyramid: Pyramid, finding: Finding, spacing_mm: float
) -> tuple[NDArray[np.float32], Affine]:
    """Return the scaled values around a finding, (SIDE, SIDE, SIDE), and where they lie."""
    grid = VoxelGrid.of(pyramid.level_for(spacing_mm), spacing_mm)
    place = (finding.x_mm or 0.0, finding.y_mm or 0.0, finding.z_mm or 0.0)
    middle = np.rint(lps_to_index(grid.affine_lps, place)).astype(int).tolist()
    first = [at - SIDE // 2 for at in middle]
    z, y, x = (slice(at, at + SIDE) for at in first)
    affine = grid.affine_lps.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    return grid.read(z, y, x, scale=HuScale(LOW_HU, HIGH_HU)), affine


def _spread(cells: Tensor, *, sides: tuple[int, int]) -> Tensor:
    """Return a map of cells on the pixels of an image, neighbouring cells joined."""
    joined = ndimage.gaussian_filter(cells.cpu().numpy(), BLUR_CELLS, mode="nearest")
    grid = torch.from_numpy(joined).to(cells)[None, None]
    return _shares_of_peak(F.interpolate(grid, size=sides, mode="bilinear")[0, 0])


def _shares_of_peak(heat: Tensor) -> Tensor:
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high > low else torch.zeros_like(heat)


def _measured(
    score: Callable[[Tensor], Tensor],
    image: Tensor,
    heat: Tensor,
    *,
    filler: Tensor,
    rounds: Rounds,
    grain_px: float,
) -> Faithfulness:
    return measure_faithfulness(
        score,
        image,
        heat,
        filler=filler,
        steps=rounds.steps,
        random_maps=rounds.random_maps,
        grain_px=grain_px,
        rng=np.random.default_rng(rounds.seed),
    )
