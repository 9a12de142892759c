"""`model.json`: what a model says of itself; readable without loading torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medvit.errors import ModelError

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"
LOOKS_FILE = "typical.safetensors"
"""What images a model knows look like; see `medvit.trust.ood`."""

SUMS_FILE = "SHA256SUMS"
"""Hash of every other file of a model folder, as `sha256sum -c` reads it."""

CURVES = "curves"
"""Name under which `ModelCard.metrics` holds curves of precision over recall, if any."""

DRAFT_PREFIX = ".draft-"
"""Of a folder that is being written."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class Architecture(BaseModel):
    """How to build the network: a name in `MODELS` and its arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    builder: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ModelCard(BaseModel):
    """What `model.json` holds.

    Attributes:
        task: `nodule` for CT, `defect` for surface images, `backbone` for one to start from.
        classes: Labels in the order of the network's outputs.
        preprocessing: Sizes, ranges and spacing the network was trained with.
        thresholds: Operating points, by name.
        training: Data, their hash, settings, seed and the command.
        metrics: Figures on cases not trained on.
        parents: Models this one started from, as `name@version`.
        ood: File and limit by which images unlike the training data are told; may be empty.
        weights_sha256: Hash of the weights file; filled in by `save_model`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=NAME_PATTERN)
    task: Literal["nodule", "defect", "backbone"]
    architecture: Architecture
    classes: tuple[str, ...]
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    calibration: dict[str, float] = Field(default_factory=dict)
    thresholds: dict[str, float] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    parents: tuple[str, ...] = ()
    ood: dict[str, Any] = Field(default_factory=dict)
    weights_sha256: str = ""

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def figures_of(card: ModelCard) -> dict[str, Any]:
    """Return the metrics of a card without its curves, which are long."""
    return {name: value for name, value in card.metrics.items() if name != CURVES}


def read_card(folder: Path) -> ModelCard:
    """Return what a model folder says of itself.

    Raises:
        ModelError: If the card is missing or breaks the rules of `ModelCard`.
    """
    path = folder / CARD_FILE
    try:
        return ModelCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        msg = f"{path}: a model folder needs a card, but it cannot be read ({error.strerror})"
        raise ModelError(msg) from error
    except (json.JSONDecodeError, ValidationError) as error:
        msg = f"{path}: not a valid model card: {error}"
        raise ModelError(msg) from error


def file_sha256(path: Path) -> str:
    """Return the hash of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
