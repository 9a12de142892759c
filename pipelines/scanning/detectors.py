"""The models that a scan needs, loaded once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from medvit.errors import InputError
from medvit.inference.evidence import FlatGrids
from medvit.io.case import Kind
from medvit.metrics.calibration import PlattScale
from medvit.metrics.operating_point import chosen_threshold
from medvit.models.heads.boxes import BoxDetector
from medvit.models.heads.classify import DefectClassifier
from medvit.models.layers.memory_order import channels_last
from medvit.models.weights import ModelCard, load_model
from medvit.registry.registry import ModelVersion, Task, find_model
from medvit.trust.ood import KnownLooks, read_looks
from medvit.workspace import Workspace

TASK_OF_KIND: dict[Kind, Task] = {"ct": "nodule", "image": "defect"}
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Detector:
    """A model that is loaded and ready.

    Attributes:
        looks: What images it knows look like; None for a model that does not tell.
        flats: What a classifier of images keeps from one to the next; None for all else.
    """

    version: ModelVersion
    module: nn.Module
    card: ModelCard
    looks: KnownLooks | None = None
    flats: FlatGrids | None = None

    @property
    def scale(self) -> PlattScale:
        """From scores of marks to probabilities; the scores themselves without calibration."""
        return PlattScale.of(self.card.calibration) or PlattScale(1.0, 0.0)


def load_detectors(
    kinds: Iterable[Kind], reference: str | None, *, device: torch.device, workspace: Workspace
) -> dict[Kind, Detector]:
    """Return a detector for each kind of case.

    Args:
        reference: `name` or `name@version`; serves the kind that it was trained for, the
            others get the default model of their task.

    Raises:
        ModelError: If a model is unknown, was altered, or does not fit.
    """
    named = find_model(reference, models=workspace.models) if reference else None
    detectors = {}
    for kind in sorted(set(kinds)):
        task = TASK_OF_KIND[kind]
        own = named if named is not None and named.task == task else None
        version = own or find_model(None, task=task, models=workspace.models)
        module, card = load_model(version.folder)
        looks = read_looks(version.folder, card)
        module = module.to(device)
        if isinstance(module, (DefectClassifier, BoxDetector)):
            module.backbone.fold_norms()
        if kind == "image" and device.type == "cpu":
            channels_last(module)
        flats = FlatGrids(module) if isinstance(module, DefectClassifier) else None
        detectors[kind] = Detector(version, module, card, looks, flats)
    return detectors


def at_operating_point(
    detector: Detector, *, fp_per_scan: float | None, miss_rate: float | None
) -> Detector:
    """Return a nodule detector that cuts where it was asked to; at its own place by default.

    Raises:
        ConfigError: If the model holds no threshold that is as strict.
    """
    if fp_per_scan is None and miss_rate is None:
        return detector
    thresholds = detector.card.thresholds
    cut = chosen_threshold(thresholds, fp_per_scan=fp_per_scan, miss_rate=miss_rate)
    card = detector.card.model_copy(update={"thresholds": {**thresholds, "probability": cut}})
    return replace(detector, card=card)


def choose_device(wanted: Device) -> torch.device:
    """Return the device to compute on; `auto` takes a GPU when there is one.

    Raises:
        InputError: If CUDA is asked for and not there.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        msg = "no CUDA device was found, but --device cuda asks for one"
        raise InputError(msg, hint="leave --device out to compute on the processor")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
