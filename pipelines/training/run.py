"""The folder of a training: opened or resumed, closed with a model and `run.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from medvit import atomic
from medvit.workspace import Workspace
from pipelines.config import write_config
from pipelines.one_at_a_time import holding
from pipelines.run_record import RUN_FILE, environment, write_run_record
from pipelines.scanning.memory import peak_rss_mb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from medvit.learn.fit import FitResult
    from medvit.models.weights import ModelCard
    from medvit.registry.lineage import Seen

CONFIG_FILE = "config.yaml"
IDENTITY_FILE = "config.json"
LOCK_FILE = ".lock"
TASKS = {
    "train": "training",
    "folds": "training of folds",
    "pretrain": "pretraining",
    "retrain": "retraining",
}
TWICE = "wait for it; for a second one beside it change a setting, such as train.seed"


@contextmanager
def open_run(workspace: Workspace, command: str, config: BaseModel) -> Iterator[Path]:
    """Give the folder to train in, which no other process trains in meanwhile.

    The newest run that has the same resolved config and never ended goes on, whatever ran
    since.

    Args:
        command: A key of `TASKS`; runs are kept by it.

    Raises:
        InputError: If another process is at work in it; names that process.
    """
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    folder = _unfinished(workspace, command, text)
    if folder is None:
        folder = workspace.new_run(command)
        atomic.write_text(folder / IDENTITY_FILE, text)
        write_config(folder / CONFIG_FILE, config)
    with (
        (folder / LOCK_FILE).open("a+", encoding="ascii") as stream,
        holding(stream, task=TASKS[command], place=f"at work in {folder}", hint=TWICE),
    ):
        workspace.take_up(folder)
        yield folder


def _unfinished(workspace: Workspace, command: str, text: str) -> Path | None:
    for past in workspace.past_runs(command):
        identity = past / IDENTITY_FILE
        is_same = identity.is_file() and identity.read_text(encoding="utf-8") == text
        if is_same and not (past / RUN_FILE).exists():
            return past
    return None


def images_sha256(images: Iterable[NDArray[np.uint8]], paths: Iterable[str]) -> str:
    """Return a hash of decoded images and their paths."""
    digest = hashlib.sha256("\n".join(paths).encode())
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()


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
