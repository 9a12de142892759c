"""Attention with a bias that all boxes share, fused, and with gradients of its own.

Letters: b boxes, h heads, n queries, k keys, d channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# Scores that the backward pass holds at a time, so that they stay in the cache.
SCORE_BYTES = 3 << 19


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, *, known: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v, on a CPU with the softmax in fp32 or better.

    Args:
        q: Queries (b, h, n, d).
        k: Keys (b, h, k, d).
        v: Values (b, h, k, d).
        bias: What to add to the scores (h, n, k), the same for all boxes.
        known: The answer of an earlier call with the same numbers; only its gradient is wanted.
    """
    if torch.is_grad_enabled():
        out: Tensor = _Attention.apply(q, k, v, bias, known)  # type: ignore[no-untyped-call]
        return out
    # The fused CPU kernel refuses a bias that requires a gradient, also where none is recorded.
    wide = wide_dtype(q)
    bias = bias.detach().to(wide)[None]
    out = F.scaled_dot_product_attention(q.to(wide), k.to(wide), v.to(wide), attn_mask=bias)
    return out.to(q.dtype)


def wide_dtype(x: Tensor) -> torch.dtype:
    """Return the type to attend in: on a CPU fp32 is faster than bf16, the cast included."""
    return torch.promote_types(x.dtype, torch.float32) if x.device.type == "cpu" else x.dtype


class _Attention(torch.autograd.Function):
    """The fused attention; its backward pass takes the scores anew, some boxes at a time."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, known: Tensor | None
    ) -> Tensor:
        out = attend(q, k, v, bias) if known is None else known.clone()
        ctx.save_for_backward(q, k, v, bias, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, bias, out = ctx.saved_tensors
        wide = torch.promote_types(bias.dtype, torch.float32)
        grads = [torch.empty_like(part, dtype=wide) for part in inputs]
        grad_bias = torch.zeros_like(bias, dtype=wide)
        step = max(1, SCORE_BYTES // (4 * bias.numel()))
        for some in (slice(at, at + step) for at in range(0, len(out), step)):
            q, k, v, g, seen = (part[some].to(wide) for part in (*inputs, grad, out))
            scale = q.shape[-1] ** -0.5
            scores = torch.matmul(q, k.mT).mul_(scale).add_(bias)
            weight = torch.softmax(scores, dim=-1, out=scores)  # (b, h, n, k)
            grads[2][some] = torch.matmul(weight.mT, g)
            # d score = weight * (d weight - sum over keys of weight * d weight)
            score = torch.matmul(g, v.mT).sub_((g * seen).sum(-1, keepdim=True)).mul_(weight)
            grads[0][some] = torch.matmul(score, k).mul_(scale)
            grads[1][some] = torch.matmul(score.mT, q).mul_(scale)
            grad_bias += score.sum(0)
        dtypes = [part.dtype for part in (*inputs, bias)]
        pairs = zip((*grads, grad_bias), dtypes, strict=True)
        return *(part.to(dtype) for part, dtype in pairs), None
