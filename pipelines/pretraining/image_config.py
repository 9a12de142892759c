"""Settings of the pretraining on images."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from pipelines.config import Settings
from pipelines.training.config import ImageData, Training
from pipelines.training.image_model import ImageModel

ImageMethod = Literal["simclr", "moco_v3", "mae"]
LEAST_DRAWS = 3


class PretrainModel(ImageModel):
    """`model`: what is trained, from which weights, and the name it is registered under."""


class PretrainTraining(Training):
    """`train`: how long and how fast."""

    workers: int = Field(0, ge=0, le=64, description="processes that augment; 0: the training does")
    devices: int = Field(1, ge=1, le=64, description="each takes batch_size images a step")


class PretrainMethod(Settings):
    """`pretrain`: the loss; each method reads its own keys."""

    method: ImageMethod = "simclr"
    temperature: float = Field(0.2, gt=0, description="contrastive methods")
    spare_groups: bool = Field(True, description="images of one group do not repel; contrastive")
    chunk: int | None = Field(
        None, ge=2, description="images a forward pass; the loss is still of the whole batch"
    )
    keep_share: float = Field(
        1.0, gt=0, le=1, description="of the patches that a ViT sees; contrastive methods"
    )
    momentum: float = Field(0.99, ge=0, le=1, description="at the first step; moco_v3")
    head_width: int = Field(1024, ge=16, description="moco_v3")
    freeze_patches: bool = Field(True, description="of a ViT; moco_v3")
    mask_share: float = Field(0.75, gt=0, lt=1, description="mae")
    decoder_dim: int = Field(96, ge=16, multiple_of=8, description="mae")
    decoder_depth: int = Field(2, ge=1, description="mae")
    on_collapse: Literal["warn", "stop"] = "warn"
    probe_every: int = Field(5, ge=0, description="epochs between probes of labels; 0: never")


class PretrainViews(Settings):
    """`views`: random changes of images; mae only crops and mirrors."""

    side_px: int = Field(96, ge=16)
    min_area: float = Field(0.5, gt=0, le=1)
    max_area: float = Field(1.0, gt=0, le=1)
    local_share: float = Field(0.0, ge=0, le=1, description="pairs whose second crop is small")
    local_area: tuple[float, float] = (0.15, 0.4)
    min_overlap: float = Field(0.3, ge=0, le=1, description="of the smaller of two crops")
    contrast: float = Field(0.3, ge=0, lt=1)
    brightness: float = Field(0.1, ge=0, lt=1)
    illumination: float = Field(0.1, ge=0, lt=1, description="from border to border")
    blur_sigma_px: float = Field(0.8, ge=0, le=3)
    noise_std: float = Field(0.02, ge=0, lt=1)
    flip: bool = True
    rotate: bool = Field(False, description="quarter turns: only for parts without direction")

    @model_validator(mode="after")
    def _areas_rise(self) -> Self:
        if self.min_area > self.max_area or not 0 < self.local_area[0] <= self.local_area[1] <= 1:
            msg = (
                "areas must rise within 0..1, got min_area "
                f"{self.min_area:g}, max_area {self.max_area:g} and local_area "
                f"{self.local_area[0]:g} to {self.local_area[1]:g}"
            )
            raise ValueError(msg)
        return self


class ReportSettings(Settings):
    """`report`: did it pay? The same labels with these weights and without."""

    shots: tuple[int, ...] = Field((1, 5, 10), description="labels a class; empty: no report")
    draws: int = Field(5, ge=LEAST_DRAWS, le=100)
    against: tuple[str, ...] = Field((), description="more weights to compare: registered models")
    tune_steps: int = Field(30, ge=0, description="of a short fine-tuning; 0: none")
    side_px: int | None = Field(None, ge=16, description="of an image; default: data.side_px")

    @field_validator("shots")
    @classmethod
    def _rise(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if any(number < 1 for number in shots) or sorted({*shots}) != list(shots):
            msg = f"shots must be positive and rise, got {list(shots)}"
            raise ValueError(msg)
        return shots


class PretrainConfig(Settings):
    """A pretraining config for images."""

    data: ImageData
    model: PretrainModel
    train: PretrainTraining
    pretrain: PretrainMethod = PretrainMethod()
    views: PretrainViews = PretrainViews()
    report: ReportSettings | None = None
