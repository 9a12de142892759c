"""Train a model: the config's `task` says which job does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.classifying import train as classifying
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import apply_override, find_config, load_config, parse_yaml
from pipelines.detecting import train as detecting
from pipelines.detecting.config import DetectConfig
from pipelines.nodules import train as nodules
from pipelines.nodules.config import NoduleConfig

if TYPE_CHECKING:
    from medvit.learn.fit import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """What trains one task: its settings model, and the function that runs it."""

    settings: type[BaseModel]
    run: Callable[..., dict[str, Any]]


JOBS: dict[str, Job] = {
    "classify": Job(ClassifyConfig, classifying.run),
    "detect": Job(NoduleConfig, nodules.run),
}
BOXES = Job(DetectConfig, detecting.run)
"""The job of `task: detect` where `data` names boxes on images."""


def load(path: Path | str, overrides: Sequence[str] = ()) -> BaseModel:
    """Read a training config with the settings model of its task.

    Raises:
        ConfigError: If the task is missing or unknown, or a key or value breaks a rule.
    """
    file = find_config(path)
    values = parse_yaml(file.read_text(encoding="utf-8"), name=file.name)
    for override in overrides:
        apply_override(values, override)
    task = values.get("task")
    if not isinstance(task, str) or task not in JOBS:
        msg = f"{file.name}: task must be one of {', '.join(sorted(JOBS))}, got {task!r}"
        raise ConfigError(msg, hint="add a line such as `task: classify`")
    data = values.get("data")
    is_boxes = task == "detect" and isinstance(data, dict) and "annotations" in data
    return load_config((BOXES if is_boxes else JOBS[task]).settings, path, overrides)


def run(
    config: BaseModel, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Train what a config asks for, register the model, and return `{"run", "model", "metrics"}`.

    Raises:
        ConfigError: If no job takes such a config.
    """
    for job in (*JOBS.values(), BOXES):
        if isinstance(config, job.settings):
            return job.run(config, workspace, progress=progress)
    msg = f"no training job takes a {type(config).__name__}"
    raise ConfigError(msg, hint=f"tasks: {', '.join(sorted(JOBS))}")
