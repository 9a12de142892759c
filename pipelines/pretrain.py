"""Pretrain a backbone without labels: the config's `pretrain.method` says which job does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.config import apply_override, find_config, load_config, parse_yaml
from pipelines.pretraining import images, volumes
from pipelines.pretraining.image_config import PretrainConfig
from pipelines.pretraining.volume_config import VolumePretrainConfig

if TYPE_CHECKING:
    from medvit.learn.fit import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """What pretrains by one method: its settings model, and the function that runs it."""

    settings: type[BaseModel]
    run: Callable[..., dict[str, Any]]


IMAGES = Job(PretrainConfig, images.run)
VOLUMES = Job(VolumePretrainConfig, volumes.run)
JOBS: dict[str, Job] = {"simclr": IMAGES, "moco_v3": IMAGES, "mae": IMAGES, "swin_ssl": VOLUMES}


def load(path: Path | str, overrides: Sequence[str] = ()) -> BaseModel:
    """Read a pretraining config with the settings model of its method.

    Raises:
        ConfigError: If the method is missing or unknown, or a key or value breaks a rule.
    """
    file = find_config(path)
    values = parse_yaml(file.read_text(encoding="utf-8"), name=file.name)
    for override in overrides:
        apply_override(values, override)
    group = values.get("pretrain")
    method = group.get("method") if isinstance(group, dict) else None
    if not isinstance(method, str) or method not in JOBS:
        msg = f"{file.name}: pretrain.method must be one of {', '.join(JOBS)}, got {method!r}"
        raise ConfigError(msg, hint="simclr, moco_v3 and mae are for images, swin_ssl for volumes")
    return load_config(JOBS[method].settings, path, overrides)


def run(
    config: BaseModel, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Pretrain what a config asks for, register it, and return `{"run", "model", "metrics"}`.

    Raises:
        ConfigError: If no job takes such a config.
    """
    for job in (IMAGES, VOLUMES):
        if isinstance(config, job.settings):
            return job.run(config, workspace, progress=progress)
    msg = f"no pretraining takes a {type(config).__name__}"
    raise ConfigError(msg, hint=f"methods: {', '.join(JOBS)}")
