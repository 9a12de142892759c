"""Names that MONAI's 3D Swin weights carry in the wild, turned into ours."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from medvit.models.layers.windows import relative_index

log = logging.getLogger(__name__)

WRAPPERS = ("state_dict", "model")
"""Keys under which published files keep their tensors beside other things."""

PREFIX = re.compile(r"^(module\.)?(swinViT\.|swin_vit\.|encoder\.)?")
ENCODER_PART = re.compile(r"^(patch_embed\.|layers\d)")
# One family of files counts the one element of each stage's list twice: layers1.0.0.
BLOCK = re.compile(r"^layers(\d)\.0\.(?:0\.)?blocks\.(\d+)\.(.+)$")
MERGE = re.compile(r"^layers(\d)\.0\.(?:0\.)?downsample\.(.+)$")
ENTRY = re.compile(r"^layers(\d)c\.0\.layer\.(conv[12])\.conv\.(.+)$")
INSIDE = {
    "attn.relative_position_bias_table": "attn.bias_table",
    "mlp.linear1": "fc1",
    "mlp.linear2": "fc2",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}
EMBEDDING = "patch_embed.weight"
INDEX = "attn.relative_position_index"
TABLE = "attn.bias_table"
MOST_PROBLEMS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a loader did.

    Attributes:
        matched: Entries of the network found in the file, index buffers included.
        total: Entries that the network has in MONAI's layout.
        dropped: Names in the file that the network has no room for.
        changed: What was altered to fit, in sentences.
    """

    matched: int
    total: int
    dropped: tuple[str, ...]
    changed: tuple[str, ...] = ()

    def __add__(self, other: LoadReport) -> LoadReport:
        """Return the report of two loaders that shared a file out between them."""
        return LoadReport(
            self.matched + other.matched,
            self.total + other.total,
            self.dropped + other.dropped,
            self.changed + other.changed,
        )


@dataclass(slots=True)
class _Sorted:
    """The entries of a file, by what becomes of them."""

    found: dict[str, Tensor] = field(default_factory=dict)
    indices: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def map_monai_keys(
    foreign: Mapping[str, Any], own: Mapping[str, Tensor], *, allow_partial: bool = False
) -> tuple[dict[str, Tensor], LoadReport]:
    """Return the foreign tensors under our names, and a report.

    Args:
        foreign: A state dict, bare or under one of `WRAPPERS`.
        own: State dict of the network; nothing of it is changed.
        allow_partial: Let entries that the file lacks keep the network's own values.

    Raises:
        ValueError: If an entry is missing or misshapen, or the file describes parts of an
            encoder that this network has not got; the message lists them.
    """
    entries = _sort(unwrap(foreign), own)
    changed = _fit_channels(entries.found, own)
    absent = [name for name in own if name not in entries.found]
    # Files made for inference may leave the index buffers out, but then all of them.
    indices = entries.indices or set(index_names(entries.found))
    absent += [name for name in index_names(own) if name not in indices]
    wrong = dict(misfits(entries.found, own))
    problems = entries.problems + list(wrong.values())
    problems += [f"{name} is missing" for name in absent if not (allow_partial and entries.found)]
    total = len(own) + len(index_names(own))
    matched = total - len(absent) - sum(name in own for name in wrong)
    if problems:
        raise ValueError(_refusal(problems, f"{matched} of {total}", len(entries.dropped)))
    report = LoadReport(matched, total, tuple(entries.dropped), changed)
    log.info("weights match %d of %d entries", matched, total)
    for sentence in changed:
        log.warning("%s", sentence)
    return dict(own) | entries.found, report


def index_names(tables: Iterable[str]) -> list[str]:
    """Return the names of the index buffers that MONAI stores beside its bias tables."""
    return [name.removesuffix(TABLE) + INDEX for name in tables if name.endswith(TABLE)]


def unwrap(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state dict inside a checkpoint, or the checkpoint if it is one.

    Examples:
        >>> unwrap({"epoch": 3, "state_dict": {"module.norm.weight": 1}})
        {'module.norm.weight': 1}
    """
    for key in WRAPPERS:
        inner = checkpoint.get(key)
        if isinstance(inner, Mapping):
            return inner
    return checkpoint


def our_name(key: str) -> str:
    """Return our name for a foreign key.

    Examples:
        >>> our_name("module.swinViT.layers1.0.blocks.0.mlp.linear1.weight")
        'stages.0.blocks.0.fc1.weight'
        >>> our_name("encoder.layers2.0.0.downsample.reduction.weight")
        'stages.1.downsample.reduction.weight'
        >>> our_name("swinViT.layers3c.0.layer.conv1.conv.weight")
        'stages.2.entry.conv1.weight'
    """
    bare = PREFIX.sub("", key, count=1)
    if bare.startswith("patch_embed.proj."):
        return bare.replace(".proj.", ".", 1)
    if merge := MERGE.match(bare):
        return f"stages.{int(merge[1]) - 1}.downsample.{merge[2]}"
    if entry := ENTRY.match(bare):
        return f"stages.{int(entry[1]) - 1}.entry.{entry[2]}.{entry[3]}"
    if block := BLOCK.match(bare):
        inside = block[3]
        for theirs, ours in INSIDE.items():
            if inside.startswith(theirs):
                inside = ours + inside.removeprefix(theirs)
        return f"stages.{int(block[1]) - 1}.blocks.{block[2]}.{inside}"
    return bare


def _sort(foreign: Mapping[str, Any], own: Mapping[str, Tensor]) -> _Sorted:
    entries = _Sorted()
    source: dict[str, str] = {}
    for key, value in foreign.items():
        name = our_name(key)
        table = own.get(name.removesuffix(INDEX) + TABLE) if name.endswith(INDEX) else None
        if name in source:
            entries.problems.append(f"{source[name]} and {key} are both {name}")
        elif name in own and isinstance(value, Tensor):
            entries.found[name] = value
            source[name] = key
        elif table is not None and isinstance(value, Tensor):
            entries.problems += _index_problems(key, value, table)
            entries.indices.add(name)
        else:
            entries.dropped.append(key)
            if ENCODER_PART.match(PREFIX.sub("", key, count=1)):
                entries.problems.append(f"{key} is part of an encoder that this network is not")
    return entries


def _index_problems(key: str, index: Tensor, table: Tensor) -> Iterator[str]:
    """Say what is wrong with a buffer that numbers the pairs of tokens in a window."""
    side = (round(table.shape[0] ** (1 / 3)) + 1) // 2
    if index.shape != (side**3, side**3):
        yield f"{key} is {tuple(index.shape)}, expected {(side**3, side**3)} for windows of {side}"
    elif not relative_index((side, side, side), table_side=side).equal(index.long()):
        yield f"{key} orders the tokens of a window in another way than z, y, x"


def misfits(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield what does not fit, and why."""
    first = found.get(EMBEDDING)
    if first is not None and first.shape[:1] != own[EMBEDDING].shape[:1]:
        widths = first.shape[0], own[EMBEDDING].shape[0]
        yield "", f"the file's feature size is {widths[0]}, this network's {widths[1]}"
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            yield name, f"{name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
        elif not tensor.is_floating_point():
            yield name, f"{name} is {tensor.dtype}, expected floating point"
        elif not torch.isfinite(tensor).all():
            yield name, f"{name} holds values that are not finite"


def _fit_channels(found: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Average the patch embedding over its channels, then share it out over ours, in place."""
    weight, wanted = found.get(EMBEDDING), own.get(EMBEDDING)
    if weight is None or wanted is None or weight.dim() != 5 or not weight.shape[1]:
        return ()
    theirs, ours = weight.shape[1], wanted.shape[1]
    if theirs == ours:
        return ()
    mean = weight.float().mean(dim=1, keepdim=True)
    found[EMBEDDING] = (mean.repeat(1, ours, 1, 1, 1) / ours).to(weight.dtype)
    return (f"{EMBEDDING} was averaged over {theirs} channels and shared out over {ours}",)


def _refusal(problems: list[str], match: str, dropped: int) -> str:
    shown = "; ".join(problems[:MOST_PROBLEMS_SHOWN])
    return (
        f"weights match {match} entries: {shown}; in all {len(problems)} problems; "
        f"dropped {dropped} names"
    )
