"""A step that changes chunks of tokens by themselves, in place or with its gradient.

For the gradient the tokens before the step are kept, and what the step itself keeps: the
backward pass takes the step again, chunk by chunk, while all of a chunk is in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medvit.models.layers.windows import Chunk

Step = Callable[[Tensor, Chunk, Sequence[Tensor]], Tensor]
"""Turns the tokens (b, t, c) of a chunk into new ones, by weights."""


def in_chunks(step: Step, chunks: Sequence[Chunk], x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Take a step for all chunks of (b, n, c); overwrites `x` where gradients are off."""
    if torch.is_grad_enabled():
        out: Tensor = _InChunks.apply(step, chunks, x, *weights)  # type: ignore[no-untyped-call]
        return out
    for chunk in chunks:
        x.index_copy_(1, chunk.tokens, step(x.index_select(1, chunk.tokens), chunk, weights))
    return x


class _InChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, step: Step, chunks: Sequence[Chunk], x: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.step, ctx.chunks = step, chunks
        ctx.save_for_backward(x, *weights)
        return in_chunks(step, chunks, x.clone(), weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        needs = ctx.needs_input_grad[3:]
        leaves = [
            weight.detach().requires_grad_(need)
            for weight, need in zip(weights, needs, strict=True)
        ]
        grad_x = torch.empty_like(x)
        for chunk in ctx.chunks:
            piece = x.index_select(1, chunk.tokens).requires_grad_()
            with torch.enable_grad():
                out = ctx.step(piece, chunk, leaves)
            out.backward(grad.index_select(1, chunk.tokens))
            grad_x.index_copy_(1, chunk.tokens, piece.grad)
        return None, None, grad_x, *(leaf.grad for leaf in leaves)


def linear_known(x: Tensor, weight: Tensor, bias: Tensor, known: Tensor) -> Tensor:
    """Return `known` for what a linear layer gives; the gradients are the layer's."""
    out: Tensor = _LinearKnown.apply(x, weight, bias, known)  # type: ignore[no-untyped-call]
    return out


class _LinearKnown(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, _bias: Tensor, known: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return known.view_as(known)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        return grad @ weight, rows.T @ x.flatten(0, -2), rows.sum(0), None
