"""Attention inside boxes with a bias that boxes of a kind share, fused, with its own gradients.

Letters: b batch, t tokens, m boxes, h heads, n queries, k keys, d channels of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# Scores that the backward pass holds at a time, so that they stay in the cache.
SCORE_BYTES = 3 << 19


def attend_in_boxes(
    qkv: Tensor,
    filler: Tensor,
    biases: Sequence[Tensor],
    counts: Sequence[int],
    *,
    known: Tensor | None = None,
) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v of each box, (b, t, c).

    Args:
        qkv: Queries, keys and values of all tokens (b, t, 3c), box after box.
        filler: The same of one token (3c); gives the keys that a box lacks.
        biases: What to add to the scores (h, n, k), for each run of boxes of one kind; a box
            has n tokens, and k - n keys of the filler.
        counts: How many boxes each run has.
        known: The answer of an earlier call with the same numbers; only its gradient is wanted.
    """
    if torch.is_grad_enabled():
        out: Tensor = _Attention.apply(qkv, filler, tuple(counts), known, *biases)  # type: ignore[no-untyped-call]
        return out
    seen = [
        _attend(qkv[:, tokens], filler, bias, count)
        for tokens, bias, count in _runs(biases, counts)
    ]
    return seen[0] if len(seen) == 1 else torch.cat(seen, dim=1)


def wide_dtype(x: Tensor) -> torch.dtype:
    """Return the type to attend in: on a CPU fp32 is faster than bf16, the cast included."""
    return torch.promote_types(x.dtype, torch.float32) if x.device.type == "cpu" else x.dtype


def _runs(biases: Sequence[Tensor], counts: Sequence[int]) -> Iterator[tuple[slice, Tensor, int]]:
    """Yield where the tokens of each run of boxes lie, with its bias and number of boxes."""
    first = 0
    for bias, count in zip(biases, counts, strict=True):
        stop = first + count * bias.shape[1]
        yield slice(first, stop), bias, count
        first = stop


def _attend(qkv: Tensor, filler: Tensor, bias: Tensor, count: int) -> Tensor:
    """Attend in boxes of one kind, whose tokens are (b, m*n, 3c)."""
    b = qkv.shape[0]  # len() would fix the batch of a traced graph
    heads, n, keys = bias.shape
    boxes = qkv.reshape(b * count, n, -1)
    if keys > n:
        boxes = torch.cat([boxes, filler.expand(b * count, keys - n, -1)], dim=1)
    q, k, v = boxes.view(b * count, keys, 3, heads, -1).permute(2, 0, 3, 1, 4)
    # The fused CPU kernel refuses a bias that requires a gradient, also where none is recorded.
    bias = bias.detach().to(q.dtype)[None]
    out = F.scaled_dot_product_attention(q[:, :, :n], k, v, attn_mask=bias)
    return out.transpose(1, 2).reshape(b, count * n, -1)


class _Attention(torch.autograd.Function):
    """The fused attention; its backward pass takes the scores anew, some boxes at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        filler: Tensor,
        counts: tuple[int, ...],
        known: Tensor | None,
        *biases: Tensor,
    ) -> Tensor:
        out = attend_in_boxes(qkv, filler, biases, counts) if known is None else known.clone()
        ctx.counts = counts
        ctx.save_for_backward(qkv, filler, out, *biases)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv, filler, out, *biases = ctx.saved_tensors
        wide = torch.promote_types(biases[0].dtype, torch.float32)
        grad_qkv = torch.empty_like(qkv, dtype=wide)
        grad_filler = torch.zeros_like(filler, dtype=wide)
        grad_biases = []
        for tokens, bias, count in _runs(biases, ctx.counts):
            heads, n, _ = bias.shape
            shape = (count, n, -1, heads, qkv.shape[2] // (3 * heads))
            boxes = [part[:, tokens].unflatten(2, shape[2:]) for part in (qkv, grad, out, grad_qkv)]
            boxes = [part.unflatten(1, shape[:2]) for part in boxes]  # (b, m, n, 1 or 3, h, d)
            ends = filler.to(wide).view(3, heads, 1, -1)
            grad_bias, grad_ends = _backward_of_boxes(boxes, ends, bias.to(wide))
            grad_filler += grad_ends.flatten()
            grad_biases.append(grad_bias.to(bias.dtype))
        return grad_qkv.to(qkv.dtype), grad_filler.to(filler.dtype), None, None, *grad_biases


def _backward_of_boxes(
    boxes: Sequence[Tensor], filler: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Fill in the gradient of q, k and v; return those of the bias and of the filler.

    Args:
        boxes: q, k and v, the gradient of the answer, the answer, and the gradient to fill in,
            each (b, m, n, parts, h, d).
        filler: q, k and v of a key that boxes lack (3, h, 1, d).
        bias: (h, n, k).
    """
    b, count, n = boxes[0].shape[:3]
    keys, scale = bias.shape[2], filler.shape[-1] ** -0.5
    step = max(1, SCORE_BYTES // (4 * bias.numel() * b))
    grad_bias, grad_filler = torch.zeros_like(bias), torch.zeros_like(filler)
    kv: Tensor | None = None
    for some in (slice(at, at + step) for at in range(0, count, step)):
        qkv, (g,), (seen,) = (_by_head(part[:, some]).to(bias.dtype) for part in boxes[:3])
        if kv is None or kv.shape[1] != qkv.shape[1]:
            kv = filler[1:, None].repeat(1, qkv.shape[1], 1, keys, 1)  # (2, b*m, h, k, d)
        kv[..., :n, :] = qkv[1:]
        q = qkv[0] * scale
        scores = torch.matmul(q, kv[0].mT).add_(bias)
        weight = torch.softmax(scores, dim=-1, out=scores)  # (b*m, h, n, k)
        grad_v = torch.matmul(weight.mT, g)
        # d score = weight * (d weight - sum over keys of weight * d weight)
        score = torch.matmul(g, kv[1].mT).sub_((g * seen).sum(-1, keepdim=True)).mul_(weight)
        grad_q = torch.matmul(score, kv[0]).mul_(scale)
        grad_k = torch.matmul(score.mT, q)
        for number, part in enumerate((grad_q, grad_k, grad_v)):
            target = boxes[3][:, some, :, number]  # (b, m, n, h, d)
            own = part[:, :, :n]
            target.copy_(own.view(b, -1, *own.shape[1:]).transpose(2, 3))
            if number and keys > n:
                grad_filler[number] += part[:, :, n:].sum((0, 2))[:, None]
        grad_bias += score[0] if len(score) == 1 else score.sum(0)
    return grad_bias, grad_filler


def _by_head(boxes: Tensor) -> Tensor:
    """Turn (b, m, n, parts, h, d) into (parts, b*m, h, n, d), one after another in memory."""
    return boxes.permute(3, 0, 1, 4, 2, 5).flatten(1, 2).contiguous()
