"""How much each class counts: weights from how many images it has."""

from __future__ import annotations

from torch import Tensor


def check_counts(counts: Tensor) -> None:
    """Refuse counts that no correction can be made from.

    Raises:
        ValueError: If there are fewer than two classes, or one of them has no image.
    """
    if counts.numel() < 2 or bool((counts <= 0).any()):
        msg = f"every one of 2 or more classes needs images, got counts {counts.tolist()}"
        raise ValueError(msg)


def effective_number_weights(counts: Tensor, *, beta: float | None = None) -> Tensor:
    """Return weights (k,) by the effective number of images, scaled to sum to k.

    Cui 2019, arXiv 1901.05555: `E = (1 - beta^n) / (1 - beta)`, weight `1 / E`. For
    classes much smaller than `1 / (1 - beta)` this is inverse frequency, so the default
    follows the largest class.

    Args:
        counts: Images a class, shape (k,).
        beta: In [0, 1); by default `1 - 1 / max(counts)`.

    Raises:
        ValueError: If a class has no image, or beta is out of range.

    Examples:
        >>> import torch
        >>> effective_number_weights(torch.tensor([1000.0, 10.0]), beta=0.0)
        tensor([1., 1.])
    """
    check_counts(counts)
    n = counts.double()
    used = 1 - 1 / float(n.max()) if beta is None else beta
    if not 0 <= used < 1:
        msg = f"beta must be at least 0 and less than 1, got {used}"
        raise ValueError(msg)
    weights = (1 - used) / (1 - used**n)
    return (weights * len(n) / weights.sum()).float()


def inverse_frequency_weights(counts: Tensor) -> Tensor:
    """Return weights (k,) that make every class count alike, scaled to sum to k.

    From the first epoch on they make classifiers of many classes worse than no weights at
    all (arXiv 2104.10510: CIFAR-100-LT 32.3 against 38.3); they help as a late stage.

    Raises:
        ValueError: If a class has no image.
    """
    check_counts(counts)
    weights = 1 / counts.double()
    return (weights * len(counts) / weights.sum()).float()
