"""What a way of tuning is given, and what it tells the training loop and the model card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lightning.pytorch import Callback

Method = Literal[
    "full", "layer_decay", "gradual", "head", "head_norm", "adapter", "prompt", "prototype"
]
PrototypeKind = Literal["cosine", "tied_covariance", "cache", "spread", "kernel"]


@dataclass(frozen=True, slots=True)
class TuningOptions:
    """Settings of all ways of tuning; each reads its own.

    Attributes:
        layer_decay: Each block learns this much slower than the one behind it.
        open_after: Share of the epochs after which gradual unfreezing has opened all blocks.
        adapter_width: Hidden units of an adapter.
        prompts: Learned tokens.
        deep_prompts: Put prompts before each block instead of the first one.
        prototype: What stands for a class.
    """

    layer_decay: float = 0.75
    open_after: float = 0.5
    adapter_width: int = 16
    prompts: int = 8
    deep_prompts: bool = True
    prototype: PrototypeKind = "cosine"

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1 or not 0 <= self.open_after <= 1:
            msg = (
                "layer_decay must lie in (0, 1] and open_after in 0..1, "
                f"got {self.layer_decay} and {self.open_after}"
            )
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Tuned:
    """How a network is trained from now on.

    Attributes:
        lr_scale: Share of the peak learning rate by depth of a parameter; empty: 1 for all.
        observers: Callbacks of the training.
        extras: What was put into the backbone, for `defect_classifier`.
        trains: Whether there is anything to train; prototypes are computed.
    """

    lr_scale: dict[int, float] = field(default_factory=dict)
    observers: tuple[Callback, ...] = ()
    extras: dict[str, Any] = field(default_factory=dict)
    trains: bool = True
