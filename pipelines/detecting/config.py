"""Settings of the training of detectors of boxes on images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pipelines.config import Settings
from pipelines.training.config import Training
from pipelines.training.image_model import ImageModel


class DetectData(Settings):
    """`data`: which images, where the boxes are, and how images are brought to one size."""

    annotations: Path = Field(description="COCO JSON, or a folder of VOC XML or YOLO files")
    manifest: Path | None = Field(None, description="split and group of each image")
    root: Path | None = Field(None, description="folder of the images; default: the annotations'")
    side_px: int = Field(128, ge=32, le=1024, description="of the longer side; nothing is squeezed")
    channels: Literal["grey", "colour"] = "grey"


class DetectorModel(ImageModel):
    """`model`: what is trained, from which weights, under which name."""

    backbone: str = Field("cnn_small", description="a name of medvit, hf:NAME or timm:NAME")
    width: int = Field(96, ge=8, le=512, description="channels of pyramid and head")
    finest_px: int = Field(8, ge=4, le=32, description="stride of the finest level")
    levels: int = Field(3, ge=1, le=6, description="of the pyramid; strides double")

    @property
    def strides_px(self) -> tuple[int, ...]:
        """Strides of the levels."""
        return tuple(self.finest_px << level for level in range(self.levels))

    @model_validator(mode="after")
    def _strides_are_powers(self) -> DetectorModel:
        if self.finest_px not in (4, 8, 16, 32):
            msg = f"model.finest_px must be 4, 8, 16 or 32, got {self.finest_px}"
            raise ValueError(msg)
        return self


class DetectTraining(Training):
    """`train`: how long and how fast."""

    batch_size: int = Field(16, ge=1)
    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the mean of weights that is kept")
    backbone_lr: float = Field(1.0, ge=0, le=1, description="share of lr; 0.1 for pretrained ones")
    validate_every: int = Field(1, ge=1, description="epochs")


class BoxLoss(Settings):
    """`loss`: focal for classes; GIoU and centre-ness go with it."""

    name: Literal["focal"] = "focal"


class NoSampler(Settings):
    """`sampler`: a detector sees every image once an epoch."""

    name: Literal["none"] = "none"


class BoxTuning(Settings):
    """`tuning`: whether the backbone learns."""

    method: Literal["full", "head"] = "full"


class BoxViewChanges(Settings):
    """`views`: random changes of training images; boxes go along, images are never mixed."""

    least_scale: float = Field(0.75, ge=0.25, le=1)
    most_scale: float = Field(1.5, ge=1, le=4)
    least_shown: float = Field(0.4, gt=0, le=1, description="share of a box that keeps its label")
    contrast: float = Field(0.3, ge=0, lt=1)
    brightness: float = Field(0.1, ge=0, lt=1)
    noise_std: float = Field(0.02, ge=0, lt=1)
    flips: bool = True
    turns: bool = False


class DetectConfig(Settings):
    """A config of `task: detect` on images."""

    task: Literal["detect"]
    data: DetectData
    model: DetectorModel
    train: DetectTraining
    loss: BoxLoss = BoxLoss()
    sampler: NoSampler = NoSampler()
    tuning: BoxTuning = BoxTuning()
    views: BoxViewChanges = BoxViewChanges()
