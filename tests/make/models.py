"""Untrained models, registered in a workspace."""

from __future__ import annotations

from pathlib import Path

import torch

from medvit.models.builders import build_model
from medvit.models.weights import Architecture, ModelCard, save_model

NODULE = "nodule-swin3d"
DEFECT = "steel-defects"
CLASSES = ("scratch", "slag", "ash")


def register_untrained(models: Path, *, version: str = "test", seed: int = 3) -> None:
    """Save a nodule and a defect model with drawn weights under the default names."""
    for name, architecture in ARCHITECTURES.items():
        torch.manual_seed(seed)
        module = build_model(architecture.builder, **architecture.arguments)
        if name == NODULE:
            _raise_scores(module)
        card = ModelCard(
            name=name,
            version=version,
            task="nodule" if name == NODULE else "defect",
            architecture=architecture,
            classes=("nodule",) if name == NODULE else CLASSES,
            preprocessing={} if name == NODULE else {"side_px": 64},
        )
        save_model(models / name / version, module.eval(), card)
        (models / name / "production").write_text(version + "\n", encoding="utf-8")


ARCHITECTURES = {
    NODULE: Architecture(
        builder="nodule_detector", arguments={"backbone": "swin3d_tiny", "width": 8}
    ),
    DEFECT: Architecture(
        builder="defect_classifier",
        arguments={"backbone": "vit_tiny_stem", "classes": len(CLASSES)},
    ),
}


def _raise_scores(module: torch.nn.Module) -> None:
    """Lift the heat map's bias so that an untrained detector has something to report."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias") and parameter.numel() == 5:
                parameter[0] += 3.0
