"""Parts of a network that stay as they are: no gradients, and in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def train_only(net: nn.Module, *, chosen: Callable[[str], bool]) -> int:
    """Let the chosen parameters learn and no others.

    Args:
        chosen: Says by its name whether a parameter learns.

    Returns:
        How many numbers learn.
    """
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(chosen(name))
        if not parameter.requires_grad:
            parameter.grad = None
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def rest_frozen(module: nn.Module) -> None:
    """Put all parts into evaluation mode that hold no parameter that learns.

    Batch norms then keep their statistics. What has no parameters, such as stochastic
    depth, goes with the part it belongs to.
    """
    for child in module.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()
        elif parameters:
            child.train()
            rest_frozen(child)
        else:
            child.train(module.training)
