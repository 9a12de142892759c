"""Convolutions that filter each channel by itself, with a gradient that a CPU computes quickly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def depthwise_conv(x: Tensor, weight: Tensor, *, stride: int, padding: int) -> Tensor:
    """Return each channel of `x` (n, c, h, w) filtered by its own kernel of `weight` (c, 1, k, k).

    In bfloat16 with the channels innermost a CPU takes five to seven times as long for the gradient
    of a kernel of 5x5 as in float32 (torch 2.13), and four to fifty times for that of the input of
    kernels with a stride: most of the step of a network made of these. Under autocast on a CPU
    those gradients are therefore computed in float32.
    """
    if torch.is_grad_enabled() and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        out: Tensor = _DepthwiseOnCpu.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        return out
    return F.conv2d(x, weight, None, stride, padding, groups=len(weight))


class _DepthwiseOnCpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        slope, by_x, by_weight = slopes[0], None, None
        if ctx.needs_input_grad[0]:
            kind = slope.dtype if ctx.stride == 1 else torch.float32
            by_x = _slope(ctx, slope.to(kind), x.to(kind), weight.to(kind), of=0).to(x.dtype)
        if ctx.needs_input_grad[1]:
            by_weight = _slope(ctx, slope.float(), x.float(), weight.float(), of=1)
        return by_x, by_weight, None, None


def _slope(ctx: Any, slope: Tensor, x: Tensor, weight: Tensor, *, of: int) -> Tensor:
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        *(slope, x, weight, None),
        *([ctx.stride] * 2, [ctx.padding] * 2, [1, 1], False, [0, 0], len(weight)),
        [of == 0, of == 1, False],
    )
    return found[of]
