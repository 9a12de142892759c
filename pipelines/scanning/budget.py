"""How much memory a scan may take, and what a case is given of it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path

import torch

from medvit.inference.cost import network_cost
from medvit.inference.nodules import NoduleSettings
from medvit.tiles.budget import BudgetError, MemoryPlan, Room, plan_memory, smallest_bytes
from medvit.tiles.footprint import DECODER_BYTES, MIB, CaseSize, Search
from medvit.tiles.resident import release_free
from medvit.volume.volume import Volume
from pipelines.scanning.detectors import Detector
from pipelines.scanning.limits import Limits
from pipelines.scanning.memory import available_bytes, current_rss_mb

FREE_SHARE = 0.75
"""Share of the machine's free memory that a scan takes when nobody says."""

USUAL_CASE = CaseSize((400, 512, 512), (1.0, 0.7, 0.7), has_decoder=True)
"""A chest scan that a budget must do for before any case is opened."""

MOST_GPU_READERS = 4
"""Threads that keep a GPU fed."""

CLASSIFIER_MB = 90.0
"""What the image classifier holds for one image, its gradients included, measured."""

IMAGE_BYTES = 96
"""Bytes for each pixel of an image: values, heat map, overlay and their copies, measured."""


def default_budget() -> int:
    """Return the bytes that a scan may hold when nobody says: what it has, and most of the rest."""
    held = int(current_rss_mb() * MIB)
    return held + int(FREE_SHARE * available_bytes())


def check_budget(
    detectors: Iterable[Detector], limits: Limits, *, costs: Path | None = None
) -> None:
    """Refuse a budget that a chest scan of usual size does not fit into, before any is read.

    Args:
        costs: Folder that keeps what networks hold.

    Raises:
        BudgetError: With the smallest figure that does.
    """
    for detector in detectors:
        if detector.version.task == "nodule":
            search = _search(USUAL_CASE, detector, NoduleSettings(), costs)
            room = _room(detector, limits)
            smallest = smallest_bytes(search, room)
        else:
            smallest = int(current_rss_mb() * MIB) + DECODER_BYTES + int(image_mb((1, 1, 1)) * MIB)
        if smallest > limits.max_bytes:
            raise BudgetError(limits.max_bytes, smallest)


def plan_search(
    volume: Volume,
    detector: Detector,
    settings: NoduleSettings,
    limits: Limits,
    *,
    costs: Path | None = None,
) -> MemoryPlan:
    """Divide the memory of a scan among the steps of one case.

    Raises:
        BudgetError: If the case does not fit; with the smallest figure that does.
    """
    has_decoder = bool(volume.origins) and not volume.is_plain
    case = CaseSize(volume.shape, volume.spacing_mm, has_decoder)
    search = _search(case, detector, settings, costs)
    return plan_memory(search, _room(detector, limits))


def image_mb(shape: tuple[int, ...], *, bytes_per_pixel: int = IMAGE_BYTES) -> float:
    """Return the MiB that an image of a shape takes, beside the process that decodes it.

    Args:
        shape: Of the image.
        bytes_per_pixel: What is held for each, that of a classifier if nothing is said.

    Examples:
        >>> image_mb((1, 1024, 1024))
        186.0
    """
    return CLASSIFIER_MB + prod(shape) * bytes_per_pixel / MIB


def _search(
    case: CaseSize, detector: Detector, settings: NoduleSettings, costs: Path | None
) -> Search:
    network = network_cost(
        detector.module,
        side=settings.tile_side,
        model_sha256=detector.version.sha256,
        folder=costs,
    )
    return Search(
        case,
        network,
        tile_side=settings.tile_side,
        grid_mm=settings.spacing_mm,
        # With torch's number of threads people say how much of the machine it may take.
        most_readers=MOST_GPU_READERS if network.device_bytes else torch.get_num_threads(),
    )


def _room(detector: Detector, limits: Limits) -> Room:
    """Return the memory there is now, with all that is free given back first."""
    release_free()
    device = next(detector.module.parameters()).device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    return Room(limits.max_bytes, int(current_rss_mb() * MIB), device_bytes=free)
