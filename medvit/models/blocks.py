"""Where the blocks of a network are, and how deep each parameter lies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn


def block_names(net: nn.Module) -> list[str]:
    """Return the names of the blocks of a network, from the input on.

    A block is a module of several layers that stands in a list or a sequence and holds no
    other block: residual units, Transformer blocks, also those of foreign networks.

    Examples:
        >>> unit = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> block_names(nn.Sequential(nn.Linear(2, 2), unit(), unit(), nn.LayerNorm(2)))
        ['1', '2']
    """
    found = list(_stacked(net))
    inner = {name.rpartition(".")[0] for name in found}
    holders = {prefix for name in inner for prefix in _prefixes(name)}
    return [name for name in found if name not in holders]


def _stacked(net: nn.Module) -> Iterator[str]:
    stacks = (nn.ModuleList, nn.Sequential)
    for name, module in net.named_modules():
        if isinstance(module, stacks):
            for key, child in module.named_children():
                has_weights = next(child.parameters(), None) is not None
                if has_weights and next(child.children(), None) is not None:
                    yield f"{name}.{key}".lstrip(".")


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def parameter_depths(net: nn.Module) -> dict[str, int]:
    """Return how deep each parameter lies: 0 before the first block, k + 1 in block k.

    What lies between two blocks belongs to the one before it, what comes after the last one
    is deeper than that. The order is that in which the network registers its parts.

    Examples:
        >>> unit = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> net = nn.Sequential(nn.Linear(2, 2), unit(), unit(), nn.LayerNorm(2))
        >>> [depth for name, depth in parameter_depths(net).items() if name.endswith("weight")]
        [0, 1, 2, 3]
    """
    blocks = block_names(net)
    place = {name: index for index, name in enumerate(blocks)}
    names = [name for name, _ in net.named_parameters()]
    owners = [_owner(name, place) for name in names]
    last = max((index for index, owner in enumerate(owners) if owner), default=-1)
    depths, reached = {}, 0
    for index, (name, owner) in enumerate(zip(names, owners, strict=True)):
        if owner:
            reached = max(reached, place[owner] + 1)
        depths[name] = len(blocks) + 1 if index > last and blocks else reached
        if owner:
            depths[name] = place[owner] + 1
    return depths


def _owner(name: str, place: dict[str, int]) -> str:
    return next((prefix for prefix in _prefixes(name) if prefix in place), "")


def is_norm(module: nn.Module) -> bool:
    """Return whether a module normalises; foreign ones are known by the name of their class.

    Examples:
        >>> is_norm(nn.LayerNorm(2)), is_norm(nn.BatchNorm2d(2)), is_norm(nn.Linear(2, 2))
        (True, True, False)
    """
    return re.search(r"Norm(\dd)?$", type(module).__name__) is not None
