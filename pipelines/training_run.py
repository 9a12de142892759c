"""The folder of a training: opened or resumed, closed with `run.json` and a registered model."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import nn

from medvit.learn.fit import FitResult
from medvit.models.weights import Architecture, ModelCard, save_model
from medvit.registry.registry import version_folder
from medvit.resources import PACKAGE
from medvit.workspace import Workspace
from pipelines.config import write_config

CONFIG_FILE = "config.yaml"
RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What a training answers: the contract's `{"run", "model", "metrics"}`."""

    run: Path
    model: str
    metrics: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"run": str(self.run), "model": self.model, "metrics": self.metrics}


def open_run(workspace: Workspace, command: str, config: BaseModel) -> Path:
    """Return the folder to train in.

    The latest run goes on when it has the same resolved config and never ended.
    """
    latest = workspace.latest_run(command)
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    if latest is not None and not (latest / RUN_FILE).exists():
        mark = latest / "config.json"
        if mark.is_file() and mark.read_text(encoding="utf-8") == text:
            return latest
    folder = workspace.new_run(command)
    (folder / "config.json").write_text(text, encoding="utf-8")
    write_config(folder / CONFIG_FILE, config)
    return folder


def images_sha256(images: NDArray[np.uint8], names: list[str]) -> str:
    """Return a hash of decoded images and their names or labels."""
    digest = hashlib.sha256("\n".join(names).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    return digest.hexdigest()


def register(
    workspace: Workspace, module: nn.Module, *, name: str, card: dict[str, Any], readme: str
) -> ModelCard:
    """Save a model as the next free version of a name.

    Args:
        card: Fields of `ModelCard` besides name and version.
        readme: Text of the model card for people; `{reference}` is filled in.
    """
    folder = next(version_folder(workspace.models, name))
    fields = {**card, "architecture": Architecture(**card["architecture"])}
    saved = save_model(folder, module, ModelCard(name=name, version=folder.name, **fields))
    text = readme.replace("{reference}", saved.reference)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return saved


def close_run(
    folder: Path, config: BaseModel, *, card: ModelCard, result: FitResult, counts: dict[str, int]
) -> None:
    """Write `run.json`: what was trained, from what, where, and at what cost."""
    record = {
        "version": _own_version(),
        "commit": git_commit(),
        "settings": config.model_dump(mode="json"),
        "model": card.reference,
        "model_sha256": card.weights_sha256,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "counts": counts,
        "epochs": result.epochs,
        "cut_short": result.cut_short,
        "seconds": round(result.seconds, 1),
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [],
    }
    (folder / RUN_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def git_commit() -> str:
    """Return the commit of the checkout that holds the package; empty outside of one."""
    command = ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return ""
    return answer.stdout.strip()


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def _own_version() -> str:
    try:
        return version("medvit")
    except PackageNotFoundError:
        return "0"
