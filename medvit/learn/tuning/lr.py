"""A learning rate that was chosen for one batch size, for another one."""

from __future__ import annotations

from typing import Literal

Scaling = Literal["none", "linear", "square_root"]
REFERENCE_BATCH = 256


def scaled_lr(
    lr: float, *, batch_size: int, rule: Scaling, devices: int = 1, accumulation: int = 1
) -> float:
    """Return the peak learning rate for the images that one update sees.

    Goyal 2017, arXiv 1706.02677: in proportion; with AdamW and small batches the root is
    the safer rule.

    Args:
        lr: For 256 images an update; with the rule `none`, for the batch as it is.
        batch_size: Images of a batch on one device.
        accumulation: Batches whose gradients are added before an update.

    Examples:
        >>> scaled_lr(1e-3, batch_size=32, rule="linear", devices=2, accumulation=2)
        0.0005
        >>> scaled_lr(1e-3, batch_size=64, rule="square_root")
        0.0005
    """
    share = batch_size * devices * accumulation / REFERENCE_BATCH
    if rule == "linear":
        return lr * share
    return lr * share**0.5 if rule == "square_root" else lr
