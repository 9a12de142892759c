"""Settings of the pretraining on volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.config import Settings
from pipelines.training.progressive import PhaseSettings, check_phases


class VolumeData(Settings):
    """`data`: which scans, and what a patch of them is."""

    root: Path = Field(description="every readable CT below it is used")
    spacing_mm: float = Field(1.0, ge=0.5, le=4.0)
    side: int = Field(64, ge=32, le=192, multiple_of=32, description="voxels of a patch")
    lungs_share: float = Field(0.7, ge=0, le=1, description="patches centred in the lungs")
    low_hu: float = Field(-1000.0, ge=-1024, le=3071)
    high_hu: float = Field(400.0, ge=-1024, le=3071)

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.high_hu <= self.low_hu:
            msg = f"high_hu must be above low_hu, got {self.high_hu:g} and {self.low_hu:g} HU"
            raise ValueError(msg)
        return self


class VolumeModel(Settings):
    """`model`: what is trained, and the name it is registered under."""

    name: str
    backbone: Literal["swin3d_tiny", "swin3d_base", "segresnet_small"] = "swin3d_tiny"


class VolumeMethod(Settings):
    """`pretrain`: the tasks."""

    method: Literal["swin_ssl"]
    temperature: float = Field(0.5, gt=0)
    noise_share: float = Field(0.3, ge=0, le=0.9, description="of a patch, painted with noise")
    copied_share: float = Field(0.3, ge=0, le=0.9, description="painted with another patch")

    @model_validator(mode="after")
    def _leaves_something_to_see(self) -> Self:
        if self.noise_share + self.copied_share > 0.9:
            msg = (
                "noise_share and copied_share must be at most 0.9 together, "
                f"got {self.noise_share} and {self.copied_share}"
            )
            raise ValueError(msg)
        return self


class VolumeTraining(Settings):
    """`train`: how long and how fast."""

    epochs: int = Field(ge=1)
    patches_per_epoch: int = Field(256, ge=2)
    batch_size: int = Field(4, ge=2, description="patches; each is seen twice")
    lr: float = Field(5e-4, gt=0, description="peak, for this batch size")
    weight_decay: float = Field(0.05, ge=0)
    warmup_epochs: float = Field(2.0, ge=0)
    max_minutes: float | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    workers: int = Field(1, ge=0, description="processes that read patches, for each device")
    devices: int = Field(1, ge=1, le=64, description="each takes batch_size patches a step")
    progressive: tuple[PhaseSettings, ...] = Field((), description="coarse phases first; none: off")


class VolumePretrainConfig(Settings):
    """A pretraining config for volumes."""

    data: VolumeData
    model: VolumeModel
    train: VolumeTraining
    pretrain: VolumeMethod

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        train = self.train
        step = train.batch_size * train.devices
        if train.patches_per_epoch < step:
            found = train.patches_per_epoch
            msg = f"train.patches_per_epoch={found} is less than one step's {step}"
            raise ValueError(msg)
        check_phases(train.progressive, epochs=train.epochs, last_mm=self.data.spacing_mm)
        return self
