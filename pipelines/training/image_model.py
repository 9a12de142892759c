"""Which network of images a training starts from, as configs of every kind name it."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from pipelines.config import Settings, hint

ImageBackbone = Literal[
    "vit_tiny_stem",
    "vit_tiny",
    "vit_small",
    "vit_base",
    "swin2d_micro",
    "swin2d_tiny",
    "hybrid_small",
    "cnn_small",
    "efficientnet_lite0",
]
FOREIGN = ("hf:", "timm:")
"""How names of networks of other libraries begin."""


class ImageModel(Settings):
    """`model`: what is trained, from which weights, under which name."""

    name: str
    backbone: str = Field("vit_tiny_stem", description="a name of medvit, hf:NAME or timm:NAME")
    weights: str = Field(
        "none",
        description="none, a registered model, a model folder, or hf: for those of the backbone",
    )

    @field_validator("backbone")
    @classmethod
    def _known(cls, backbone: str) -> str:
        names = get_args(ImageBackbone)
        if backbone not in names and not backbone.startswith(FOREIGN):
            msg = f"no such backbone; {hint(backbone, names)} or hf:NAME, timm:NAME"
            raise ValueError(msg)
        return backbone

    @model_validator(mode="after")
    def _foreign_weights_have_their_network(self) -> Self:
        if self.weights.startswith(FOREIGN) and self.weights not in (
            self.backbone,
            f"{self.backbone.partition(':')[0]}:",
        ):
            msg = (
                f"model.weights={self.weights} belong to the network of that name, but "
                f"model.backbone={self.backbone}; give both the same name"
            )
            raise ValueError(msg)
        return self
