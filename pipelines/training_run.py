"""The folder of a training: opened or resumed, closed with a model and `run.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from medvit import atomic
from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.config import write_config
from pipelines.run_record import RUN_FILE, environment, write_run_record
from pipelines.scanning.memory import peak_rss_mb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from medvit.learn.fit import FitResult
    from medvit.models.backbone import Backbone2d
    from medvit.models.weights import ModelCard
    from medvit.registry.lineage import Seen

CONFIG_FILE = "config.yaml"
IDENTITY_FILE = "config.json"
CHANNELS = {1: "grey", 3: "colour"}


def open_run(workspace: Workspace, command: str, config: BaseModel) -> Path:
    """Return the folder to train in.

    The newest run that has the same resolved config and never ended goes on, whatever ran
    since.
    """
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    for past in workspace.past_runs(command):
        identity = past / IDENTITY_FILE
        is_same = identity.is_file() and identity.read_text(encoding="utf-8") == text
        if is_same and not (past / RUN_FILE).exists():
            workspace.take_up(past)
            return past
    folder = workspace.new_run(command)
    atomic.write_text(folder / IDENTITY_FILE, text)
    write_config(folder / CONFIG_FILE, config)
    return folder


def images_sha256(images: Iterable[NDArray[np.uint8]], paths: Iterable[str]) -> str:
    """Return a hash of decoded images and their paths."""
    digest = hashlib.sha256("\n".join(paths).encode())
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()


def find_weights(weights: str, workspace: Workspace) -> tuple[nn.Module, ModelCard]:
    """Return the model that `model.weights` names: registered, or a folder.

    Raises:
        ConfigError: If it names weights that medvit did not make.
        ModelError: If there is no such model, or it was altered.
    """
    from medvit.models.weights import CARD_FILE, load_model
    from medvit.registry.registry import find_model

    if weights.startswith("hf:"):
        msg = f"model.weights={weights}: only weights made by medvit can be loaded so far"
        raise ConfigError(msg, hint="use none, a registered model, or a model folder")
    folder = Path(weights)
    if not (folder / CARD_FILE).is_file():
        folder = find_model(weights, models=workspace.models).folder
    return load_model(folder)


def take_backbone(net: Backbone2d, weights: str, workspace: Workspace, *, name: str) -> ModelCard:
    """Load the backbone of a model of images into one of the same kind; return the model's card.

    Args:
        net: Gets the weights; what texture joins to either of the two is left alone.
        weights: As `find_weights` takes them: of a backbone, a classifier or a detector.
        name: Of the backbone, as configs name it.

    Raises:
        ConfigError: If the weights do not fit.
        ModelError: If there is no such model, or it was altered.
    """
    from medvit.models.backbone import Backbone2d

    module, card = find_weights(weights, workspace)
    source = getattr(module, "backbone", module)
    source = source.bare if isinstance(source, Backbone2d) else source
    try:
        net.bare.load_state_dict(source.state_dict())
    except RuntimeError as error:
        msg = f"weights of {card.reference} ({_kind(card)}) do not fit model.backbone={name}"
        seen = getattr(source, "in_channels", net.in_channels)
        if seen == net.in_channels:
            hint = f"set model.backbone={_kind(card)}, or name a model with the same backbone"
            raise ConfigError(msg, hint=hint) from error
        kind, other = CHANNELS[seen], CHANNELS[net.in_channels]
        msg += f": they are for {kind} images, not for {other} ones"
        hint = f"set data.channels={kind}, or name a model for {other} images"
        raise ConfigError(msg, hint=hint) from error
    return card


def _kind(card: ModelCard) -> str:
    return str(card.architecture.arguments.get("backbone", card.architecture.builder))


def register(
    workspace: Workspace,
    module: nn.Module,
    *,
    name: str,
    card: dict[str, Any],
    readme: str,
    seen: Seen | None = None,
) -> ModelCard:
    """Save a model as the next free version of a name.

    Args:
        card: Fields of `ModelCard` besides name and version.
        readme: Text of the model card for people; `{reference}` is filled in.
        seen: Which cases it was trained on; the gate looks for leaks there.
    """
    from medvit.registry.saving import save_version

    code = {key: value for key, value in environment().items() if key in {"version", "commit"}}
    card = {**card, "training": {**card.get("training", {}), "code": code}}
    return save_version(workspace.models, module, name=name, card=card, readme=readme, seen=seen)


def close_run(
    folder: Path,
    config: BaseModel,
    *,
    card: ModelCard,
    result: FitResult,
    counts: dict[str, int],
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `run.json`, and return the answer of the command.

    Args:
        more: What else the record is to hold, such as `noise`.
    """
    record = {
        "settings": config.model_dump(mode="json"),
        "model": card.reference,
        "model_sha256": card.weights_sha256,
        "device": result.device,
        "counts": counts,
        "epochs": result.epochs,
        "cut_short": result.cut_short,
        "seconds": round(result.seconds, 1),
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [],
        "metrics": card.metrics,
        **(more or {}),
    }
    write_run_record(folder, record)
    return {"run": str(folder), "model": card.reference, "metrics": card.metrics}
