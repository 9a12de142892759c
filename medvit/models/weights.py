"""A model on disk: `model.safetensors`, and `model.json` that says what it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from medvit import atomic
from medvit.errors import ModelError
from medvit.models.builders import build_model

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"
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
    weights_sha256: str = ""

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def save_model(folder: Path, module: nn.Module, card: ModelCard) -> ModelCard:
    """Write a model folder at once: it is there whole or not at all.

    Returns:
        The card with the hash of the weights.

    Raises:
        ModelError: If the folder exists: a version is never overwritten.
    """
    if folder.exists():
        msg = f"{folder} exists, and a model version is never overwritten"
        raise ModelError(msg, hint="choose another version")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        tensors = {key: value.detach().contiguous() for key, value in module.state_dict().items()}
        atomic.write_bytes(draft / WEIGHTS_FILE, save(tensors))
        card = card.model_copy(update={"weights_sha256": file_sha256(draft / WEIGHTS_FILE)})
        atomic.write_text(draft / CARD_FILE, card.model_dump_json(indent=2) + "\n")
        draft.chmod(0o755)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return card


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


def load_model(folder: Path) -> tuple[nn.Module, ModelCard]:
    """Return a network in evaluation mode with its card.

    Raises:
        ModelError: If the weights were altered since the card was written, or
            do not fit the architecture.
    """
    card = read_card(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        msg = f"{path}: the weights of {card.reference} are missing"
        raise ModelError(msg)
    found = file_sha256(path)
    if found != card.weights_sha256:
        msg = f"{path}: sha256 {found[:12]} is not the card's {card.weights_sha256[:12]}"
        raise ModelError(msg, hint="the file was altered; restore or register it anew")
    module = build_model(card.architecture.builder, **card.architecture.arguments)
    try:
        module.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        msg = f"{path}: weights do not fit {card.architecture.builder}: {error}"
        raise ModelError(msg) from error
    return module.eval(), card


def file_sha256(path: Path) -> str:
    """Return the hash of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
