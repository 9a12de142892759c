"""Attention with a bias for every box, fused for inference and with own gradients.

Letters: b boxes, h heads, n queries, k keys, d channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v, with the softmax in fp32 or better.

    Args:
        q: Queries (b, h, n, d).
        k: Keys (b, h, k, d).
        v: Values (b, h, k, d).
        bias: What to add to the scores (h, n, k), the same for all boxes.
    """
    if torch.is_grad_enabled():
        out: Tensor = _Attention.apply(q, k, v, bias)  # type: ignore[no-untyped-call]
        return out
    # On a CPU the fused kernel is faster in fp32 than in bf16, cast included; and it
    # refuses a bias that requires a gradient, also where none is recorded.
    wide = torch.promote_types(q.dtype, torch.float32) if q.device.type == "cpu" else q.dtype
    q, k, v = (part.to(wide) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.detach().to(wide)[None])


class _Attention(torch.autograd.Function):
    """The fused CPU kernel refuses a bias that requires a gradient; this keeps the softmax."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        scores = torch.matmul(q, k.mT).to(bias.dtype).mul_(q.shape[-1] ** -0.5).add_(bias)
        weight = torch.softmax(scores, dim=-1).to(v.dtype)  # (b, h, n, k)
        out = torch.matmul(weight, v)
        ctx.save_for_backward(q, k, v, weight, out)
        ctx.bias_dtype = bias.dtype
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        q, k, v, weight, out = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        grad_v = torch.matmul(weight.mT, grad)
        # d score = weight * (d weight - sum over keys of weight * d weight)
        score = torch.matmul(grad, v.mT).sub_((grad * out).sum(-1, keepdim=True)).mul_(weight)
        grad_q = torch.matmul(score, k).mul_(scale)
        grad_k = torch.matmul(score.mT, q).mul_(scale)
        return grad_q, grad_k, grad_v, score.sum(0, dtype=ctx.bias_dtype)
