"""The keys that every training config on images shares, with bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from medvit.errors import ConfigError
from medvit.resources import configs_folder
from pipelines.config import Settings


class ImageData(Settings):
    """`data`: which images, and how they are brought to one size."""

    manifest: Path
    root: Path | None = Field(None, description="folder of the paths; default: the manifest's")
    side_px: int = Field(128, ge=32, le=1024)


class Training(Settings):
    """`train`: how long and how fast."""

    epochs: int = Field(ge=1)
    max_minutes: float | None = Field(None, gt=0)
    lr: float = Field(1e-3, gt=0, description="peak, for this batch size")
    batch_size: int = Field(64, ge=2)
    seed: int = Field(0, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    warmup_epochs: float = Field(2.0, ge=0)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


class Views(Settings):
    """`views`: random changes of training images."""

    side_px: int = Field(96, ge=16)
    min_area: float = Field(0.5, ge=0.3, le=1.0)
    contrast: float = Field(0.3, ge=0, lt=1)
    brightness: float = Field(0.1, ge=0, lt=1)
    blur_sigma_px: float = Field(0.8, gt=0.1)
    noise_std: float = Field(0.02, ge=0, lt=1)
    rotate: bool = False
    rand_operations: int = Field(0, ge=0, le=8, description="of RandAugment, on top")
    rand_magnitude: float = Field(5.0, ge=0, le=10)


def find_manifest(data: ImageData) -> tuple[Path, Path]:
    """Return the manifest file and the folder its paths start from.

    A manifest that is not found as named is looked for among the shipped configs.

    Raises:
        ConfigError: If a file or folder is missing; the message names the key.
    """
    candidates = (data.manifest, configs_folder() / data.manifest)
    file = next((path for path in candidates if path.is_file()), None)
    if file is None:
        msg = f"data.manifest={data.manifest}: no such file, nor among the shipped configs"
        raise ConfigError(msg, hint="write one: a CSV with the header path,label,split,group")
    root = data.root or file.parent
    if not root.is_dir():
        msg = f"data.root={root}: no such folder"
        raise ConfigError(msg, hint="set data.root=FOLDER, the folder of the manifest's paths")
    return file, root


def check_batch(images: int, *, batch_size: int, file: Path) -> None:
    """Refuse a batch that is larger than the training split.

    Raises:
        ConfigError: If it is.
    """
    if images < batch_size:
        msg = f"{file}: {images} training images are fewer than train.batch_size={batch_size}"
        hint = f"set train.batch_size={images} or less" if images >= 2 else "add training images"
        raise ConfigError(msg, hint=hint)
