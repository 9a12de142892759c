"""What a runner must know beside an exported network: what goes in, and what its numbers mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit import atomic
from medvit.data.grey import prepare_grey
from medvit.errors import ModelError
from medvit.models.weights import file_sha256
from medvit.volume.scale import HuScale

SIDECAR_FILE = "preprocessing.json"

Format = Literal["onnx", "onnx-int8", "tensorrt", "torch"]
Decision = tuple[str, bool] | tuple[float, float, float, float]
"""Of an image: its label, and if it is sure enough. Of a tile: a mark's centre and diameter."""


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HuInput(_Plain):
    """A cube of CT: HU at a spacing, cut to a range that becomes 0..1."""

    kind: Literal["hu"] = "hu"
    spacing_mm: float = Field(gt=0)
    side: int = Field(gt=0, description="voxels")
    low_hu: float
    high_hu: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input without the batch."""
        return (1, self.side, self.side, self.side)

    def prepare(self, hu: NDArray[np.float32]) -> Tensor:
        """Return the input (1, 1, z, y, x) for a tile (z, y, x) in HU."""
        scaled = HuScale(self.low_hu, self.high_hu).apply(hu)
        return torch.from_numpy(scaled.astype(np.float32, copy=False))[None, None]


class GreyInput(_Plain):
    """An image: mean of its channels, resized to a square, 0..1."""

    kind: Literal["grey"] = "grey"
    side_px: int = Field(gt=0)
    resize: Literal["bilinear, antialiased"] = "bilinear, antialiased"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input without the batch."""
        return (1, self.side_px, self.side_px)

    def prepare(self, pixels: NDArray[np.float32]) -> Tensor:
        """Return the input (1, 1, h, w) for pixels (h, w, 3) in 0..1."""
        return torch.from_numpy(prepare_grey(pixels, side_px=self.side_px))[None, None]


class Rule(_Plain):
    """How outputs become decisions.

    Attributes:
        classes: Labels in the order of an image's logits, or the one of the detector.
        temperature: Divides an image's logits before the softmax.
        threshold: Probability from which on it counts; None for an image says that the best
            class always does.
        stride: Voxels a cell of the detector's maps; 0 for an image.
    """

    classes: tuple[str, ...]
    temperature: float = Field(1.0, gt=0)
    threshold: float | None = Field(None, ge=0, le=1)
    stride: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _marks_have_a_threshold(self) -> Self:
        if self.stride and self.threshold is None:
            msg = "a detector needs a threshold, got none"
            raise ValueError(msg)
        return self

    def decide(self, outputs: tuple[Tensor, ...]) -> list[Decision]:
        """Return what the outputs of one input, with a batch of one, amount to."""
        return self._marks(*outputs) if self.stride else [self._label(outputs[0])]

    def _label(self, logits: Tensor) -> tuple[str, bool]:
        shares = (logits[0].double() / self.temperature).softmax(0)
        best = int(shares.argmax())
        return self.classes[best], float(shares[best]) >= (self.threshold or 0.0)

    def _marks(self, heat: Tensor, log_diameter: Tensor, offset: Tensor) -> list[Decision]:
        """Return the peaks of (1, c, z, y, x) maps: centre in voxels and diameter in mm."""
        is_peak = (heat == F.max_pool3d(heat, 3, 1, 1)) & (
            heat.sigmoid() >= (self.threshold or 0.0)
        )
        marks: list[Decision] = []
        for z, y, x in is_peak[0, 0].nonzero().tolist():
            cell = torch.tensor([z, y, x]) + 0.5 + offset[0, :, z, y, x]
            a, b, c = (cell * self.stride - 0.5).tolist()
            marks.append((a, b, c, float(log_diameter[0, 0, z, y, x].exp())))
        return marks


class Sidecar(_Plain):
    """All that is in `preprocessing.json`.

    Attributes:
        model: `name@version` that was exported.
        weights_sha256: Of the weights it was exported from.
        file: The exported network, beside the sidecar.
        sha256: Of that file.
        outputs: Names of the network's outputs, in order.
    """

    format: Format
    model: str
    task: Literal["nodule", "defect"]
    weights_sha256: str
    file: str
    sha256: str
    input: HuInput | GreyInput = Field(discriminator="kind")
    outputs: tuple[str, ...]
    rule: Rule


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write `preprocessing.json` beside the exported network."""
    atomic.write_text(folder / SIDECAR_FILE, sidecar.model_dump_json(indent=2) + "\n")


def read_sidecar(folder: Path) -> Sidecar:
    """Return what belongs to the exported network in a folder.

    Raises:
        ModelError: If the sidecar is missing or incomplete, or the network was altered.
    """
    path = folder / SIDECAR_FILE
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        sidecar = Sidecar.model_validate(values)
    except OSError as error:
        msg = f"{path.name}: an exported network is not run without it ({error.strerror})"
        raise ModelError(msg, hint="export the model anew") from error
    except (json.JSONDecodeError, ValidationError) as error:
        msg = f"{path.name}: not a valid sidecar: {error}"
        raise ModelError(msg, hint="export the model anew") from error
    found = file_sha256(folder / sidecar.file) if (folder / sidecar.file).is_file() else "none"
    if found != sidecar.sha256:
        msg = f"{sidecar.file}: sha256 {found[:12]} is not the sidecar's {sidecar.sha256[:12]}"
        raise ModelError(msg, hint="the file was altered; export the model anew")
    return sidecar
