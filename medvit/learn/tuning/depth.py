"""How deep each parameter of a classifier lies, and groups of parameters by that depth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from torch import nn

from medvit.models.blocks import parameter_depths
from medvit.models.heads.classify import DefectClassifier

UNDECAYED = (
    "registers",
    "bias_table",
    "prompts",
    "cls_token",
    "mask_token",
    "position_embedding",
    "pos_embed",
)
"""Parts of the names of tables and tokens, which weight decay does not pull to zero."""


def classifier_depths(net: DefectClassifier) -> dict[str, int]:
    """Return the depth of each parameter: 0 for the stem, k + 1 in block k, the head last."""
    depths = {f"backbone.{name}": depth for name, depth in parameter_depths(net.backbone).items()}
    last = deepest(depths)
    return depths | {name: last for name, _ in net.named_parameters() if name not in depths}


def deepest(depths: Mapping[str, int]) -> int:
    """Return the depth of the head: behind all blocks."""
    inside = [depth for name, depth in depths.items() if name.startswith("backbone.")]
    return max(inside, default=0)


def depth_groups(
    net: DefectClassifier, *, lr: float, weight_decay: float, lr_scale: Mapping[int, float]
) -> list[dict[str, Any]]:
    """Return groups for an optimiser, one a depth and kind, each with its learning rate.

    Also parameters that are frozen for now are in a group: they may learn later.

    Args:
        lr: Peak learning rate.
        weight_decay: For matrices; vectors, tables and tokens are not decayed.
        lr_scale: Share of `lr` by depth; 1 where a depth is missing.
    """
    members: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    depths = classifier_depths(net)
    for name, parameter in net.named_parameters():
        decays = parameter.ndim > 1 and not any(part in name for part in UNDECAYED)
        members[depths[name], decays].append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * lr_scale.get(depth, 1.0),
            "weight_decay": weight_decay if decays else 0.0,
            "depth": depth,
        }
        for (depth, decays), parameters in sorted(members.items(), key=lambda item: item[0])
    ]
