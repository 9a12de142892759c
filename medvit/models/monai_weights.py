"""Names that MONAI's 3D Swin weights carry in the wild, turned into ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from medvit.models.layers.windows import relative_index

PREFIX = re.compile(r"^(module\.)?(swinViT\.|swin_vit\.|encoder\.)?")
BLOCK = re.compile(r"^layers(\d)\.0\.(?:blocks\.)?(\d+)\.(.+)$")
MERGE = re.compile(r"^layers(\d)\.0\.downsample\.(.+)$")
INSIDE = {
    "attn.relative_position_bias_table": "attn.bias_table",
    "mlp.linear1": "fc1",
    "mlp.linear2": "fc2",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a loader did.

    Attributes:
        matched: Entries of the network found in the file, index buffers included.
        total: Entries that the network has in MONAI's layout.
        dropped: Names in the file that the network has no room for.
    """

    matched: int
    total: int
    dropped: tuple[str, ...]


def map_monai_keys(
    foreign: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], LoadReport]:
    """Return the foreign tensors under our names, and a report.

    Raises:
        ValueError: If an entry is missing or misshapen; the message lists them.
    """
    mapped: dict[str, Tensor] = {}
    dropped: list[str] = []
    indices = 0
    for key, tensor in foreign.items():
        name = our_name(key)
        if name.endswith("relative_position_index"):
            _check_index(key, tensor)
            indices += 1
        elif name in own:
            mapped[name] = tensor
        else:
            dropped.append(key)
    blocks = sum(name.endswith("bias_table") for name in own)
    problems = [f"{name} is missing" for name in own if name not in mapped]
    problems += [
        f"{name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
        for name, tensor in mapped.items()
        if tensor.shape != own[name].shape
    ]
    total = len(own) + blocks
    if problems or indices not in {0, blocks}:
        msg = (
            f"weights match {len(mapped) + indices} of {total} entries: "
            f"{'; '.join(problems[:5])}; in all {len(problems)} problems; "
            f"dropped {len(dropped)} names"
        )
        raise ValueError(msg)
    return mapped, LoadReport(len(mapped) + (indices or blocks), total, tuple(dropped))


def our_name(key: str) -> str:
    """Return our name for a foreign key.

    Examples:
        >>> our_name("module.swinViT.layers1.0.blocks.0.mlp.linear1.weight")
        'stages.0.blocks.0.fc1.weight'
        >>> our_name("module.layers2.0.downsample.reduction.weight")
        'stages.1.downsample.reduction.weight'
    """
    bare = PREFIX.sub("", key, count=1)
    if bare.startswith("patch_embed.proj."):
        return bare.replace(".proj.", ".", 1)
    if merge := MERGE.match(bare):
        return f"stages.{int(merge[1]) - 1}.downsample.{merge[2]}"
    if block := BLOCK.match(bare):
        inside = block[3]
        for theirs, ours in INSIDE.items():
            if inside.startswith(theirs):
                inside = ours + inside.removeprefix(theirs)
        return f"stages.{int(block[1]) - 1}.blocks.{block[2]}.{inside}"
    return bare


def _check_index(key: str, tensor: Tensor) -> None:
    side = round(tensor.shape[0] ** (1 / 3))
    if not relative_index((side, side, side), table_side=side).equal(tensor.long()):
        msg = f"{key} orders the tokens of a window in another way than z, y, x"
        raise ValueError(msg)
