"""Settings of the nodule training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.config import Settings
from pipelines.nodules.annotated_config import AnnotatedSettings
from pipelines.training.progressive import PhaseSettings, check_phases

SPACING_MM = 1.0
"""Side of a voxel that nodules are searched at."""


FOREIGN_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
"""Files of weights that were not saved by medvit."""


class ScanSource(Settings):
    """A real scan to put nodules into."""

    source: str = Field(description="folder of a series below data.root")
    weight: int = Field(1, ge=1, description="how many phantoms it counts for")
    ignored_xyzd_mm: tuple[tuple[float, float, float, float], ...] = ()


class DataSettings(Settings):
    """Where crops come from."""

    phantoms: int = Field(48, ge=0, description="made chests; 0 where there are other scans")
    phantom_seed: int = Field(1000, ge=0)
    validation_phantoms: int = Field(6, ge=0)
    root: Path | None = None
    scans: tuple[ScanSource, ...] = ()
    annotated: AnnotatedSettings | None = Field(None, description="scans with real nodules")
    annotated_share: float = Field(
        0.8, gt=0, le=1, description="share of crops cut from annotated scans, if there are any"
    )
    positive_share: float = Field(
        0.5, ge=0, le=1, description="share of the crops of a scan with nodules that hold one"
    )
    insertion_share: float = Field(
        0.3, ge=0, le=1, description="share of crops of annotated scans that get nodules put in"
    )
    hard_nodules: float = Field(
        0.0, ge=0, le=1, description="share of made nodules drawn hazy or small, beyond LUNA16's"
    )
    validation_scans: int = Field(
        20, ge=0, description="held-out annotated scans searched while training"
    )

    @model_validator(mode="after")
    def _some_scan_is_named(self) -> Self:
        if not self.phantoms and not self.scans and self.annotated is None:
            msg = "data.phantoms=0 leaves nothing to train on without data.scans or data.annotated"
            raise ValueError(msg)
        return self

    @property
    def annotated_settings(self) -> AnnotatedSettings | None:
        """`annotated`, with the folder of all data where it names none."""
        if self.annotated is None or self.annotated.root is not None:
            return self.annotated
        return self.annotated.model_copy(update={"root": self.root})


class ModelSettings(Settings):
    """What is trained."""

    name: str = "nodule-swin3d"
    backbone: Literal[
        "swin3d_tiny",
        "swin3d_tiny_factorised",
        "swin3d_tiny_residual",
        "swin3d_base",
        "segresnet_small",
    ] = "swin3d_tiny"
    weights: str = Field(
        "none", description="none, a registered model, a model folder, or a file of MONAI's encoder"
    )
    merging: Literal["pre1.5", "1.5", "v2"] | None = Field(
        None, description="order of patch merging in a file of MONAI's encoder"
    )
    width: int = Field(32, ge=8, description="channels of the pyramid")
    reduction: bool = Field(False, description="a second look at each candidate")

    @model_validator(mode="after")
    def _merging_goes_with_a_file(self) -> Self:
        is_file = self.weights.endswith(FOREIGN_SUFFIXES)
        if is_file != (self.merging is not None):
            msg = (
                f"model.merging={self.merging} with model.weights={self.weights}: a file of "
                "MONAI's encoder needs model.merging (pre1.5 if published before 2025, else 1.5 "
                "or v2), and nothing else takes it"
            )
            raise ValueError(msg)
        return self

    @property
    def architecture(self) -> dict[str, Any]:
        """Arguments of `nodule_detector`."""
        merging = {} if self.merging is None else {"merging": self.merging}
        reduction = {"reduction": True} if self.reduction else {}
        return {"backbone": self.backbone, "width": self.width, **merging, **reduction}


class TrainSettings(Settings):
    """How it is trained."""

    epochs: int = Field(30, ge=1)
    crops_per_epoch: int = Field(320, ge=1)
    batch_size: int = Field(4, ge=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    crop_side: int = Field(64, ge=32, multiple_of=32, description="voxels of 1 mm")
    max_minutes: float | None = Field(None, gt=0)
    seed: int = Field(7, ge=0)
    workers: int = Field(1, ge=0, description="processes that draw crops, for each device")
    devices: int = Field(1, ge=1, description="processes that train, each on a device of its own")
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        "auto", description="auto: bf16-mixed where crops are large enough for it"
    )
    ema_decay: float = Field(
        0.998, ge=0, lt=1, description="share of the mean of weights that a step keeps; 0: none"
    )
    hard_share: float = Field(
        0.25, ge=0, le=1, description="share of crops that go back to false marks; 0: none"
    )
    lookouts: int = Field(64, ge=1, description="crops searched for false marks after each epoch")
    validate_every: int = Field(
        5, ge=0, description="epochs between searches of validation scans; 0: only at the end"
    )
    progressive: tuple[PhaseSettings, ...] = Field((), description="coarse phases first; none: off")

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        check_phases(self.progressive, epochs=self.epochs, last_mm=SPACING_MM)
        return self


class NoduleConfig(Settings):
    """Settings of `medvit train` for nodules."""

    task: Literal["detect"]
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
