"""Bottlenecks behind the blocks of a network that stays as it is (Houlsby 2019, 1902.00751)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medvit.models.backbone import Backbone2d
from medvit.models.blocks import block_names


class Adapter(nn.Module):
    """Add a narrow, normed MLP to features; it adds nothing at the start.

    Args:
        channels: Of the features.
        width: Hidden units.
        axis: Where the channels are: -1 for tokens, 1 for maps (n, c, h, w).
    """

    def __init__(self, channels: int, width: int, *, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.norm = nn.LayerNorm(channels)
        self.down = nn.Linear(channels, width)
        self.up = nn.Linear(width, channels)
        self.reset()

    def reset(self) -> None:
        """Begin as the identity."""
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        last = x.movedim(self.axis, -1)
        change = self.up(nn.functional.gelu(self.down(self.norm(last))))
        out: Tensor = x + change.movedim(-1, self.axis)
        return out


class Adapted(nn.Module):
    """A block and the adapter behind it."""

    def __init__(self, inner: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.inner = inner
        self.adapter = adapter

    def forward(self, *given: Any, **named: Any) -> Any:
        """Return what the block returns, adapted; of several values the first is."""
        out = self.inner(*given, **named)
        if isinstance(out, tuple):
            return (self.adapter(out[0]), *out[1:])
        return self.adapter(out)


def insert_adapters(backbone: Backbone2d, *, width: int) -> int:
    """Put an adapter behind each block, in place; the network still computes the same.

    Returns:
        How many were put.

    Raises:
        ValueError: If the network has them already, or has no block to adapt.
    """
    names = block_names(backbone)
    if any(isinstance(module, Adapted) for module in backbone.modules()):
        msg = "the backbone has adapters already, and adapters are not put behind adapters"
        raise ValueError(msg)
    shapes = {name: shape for name, shape in _shapes(backbone, names).items() if len(shape) > 2}
    if not shapes:
        msg = f"{type(backbone).__name__} has no block that an adapter fits behind, of {names}"
        raise ValueError(msg)
    for name, shape in shapes.items():
        axis = 1 if len(shape) == 4 else -1
        holder, _, key = name.rpartition(".")
        block = backbone.get_submodule(name)
        adapter = Adapter(shape[axis], width, axis=axis)
        setattr(backbone.get_submodule(holder), key, Adapted(block, adapter))
    return len(shapes)


def _shapes(backbone: Backbone2d, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Return the shape that each block gives for a small image."""
    seen: dict[str, tuple[int, ...]] = {}

    def remember(name: str) -> Any:
        def hook(module: nn.Module, given: Any, out: Any) -> None:
            del module, given
            first = out[0] if isinstance(out, tuple) else out
            seen[name] = tuple(first.shape) if isinstance(first, Tensor) else ()

        return hook

    handles = [backbone.get_submodule(name).register_forward_hook(remember(name)) for name in names]
    was_training = backbone.training
    try:
        backbone.eval()
        with torch.no_grad():
            backbone(torch.zeros(1, backbone.in_channels, backbone.probe_px, backbone.probe_px))
    finally:
        backbone.train(was_training)
        for handle in handles:
            handle.remove()
    return seen
