"""The quick gradient of a depthwise convolution is the gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.models.layers.depthwise import depthwise_conv


def slopes(out: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    wave = torch.linspace(-1, 1, out.numel()).view(out.shape)
    return torch.autograd.grad((out.float() * wave).sum(), (x, weight))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 2, 2), (5, 2, 0)])
def test_in_bfloat16_it_is_that_of_float32(kernel: int, stride: int, padding: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 6, 17, 14, generator=generator).requires_grad_()
    weight = torch.rand(6, 1, kernel, kernel, generator=generator).requires_grad_()
    wanted = F.conv2d(x, weight, None, stride, padding, groups=6)
    with torch.autocast("cpu", torch.bfloat16):
        found = depthwise_conv(x, weight, stride=stride, padding=padding)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.05, rtol=0.02)
    for own, other in zip(slopes(found, x, weight), slopes(wanted, x, weight), strict=True):
        torch.testing.assert_close(own, other, atol=0.3, rtol=0.02)


def test_in_float32_it_is_the_same() -> None:
    x, weight = torch.rand(1, 2, 9, 9), torch.rand(2, 1, 3, 3)
    found = depthwise_conv(x, weight, stride=1, padding=1)
    torch.testing.assert_close(found, F.conv2d(x, weight, padding=1, groups=2), atol=0, rtol=0)


def test_a_frozen_kernel_costs_no_gradient() -> None:
    x, weight = torch.rand(1, 2, 9, 9, requires_grad=True), torch.rand(2, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        torch.autograd.backward(depthwise_conv(x, weight, stride=1, padding=1).float().sum())
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    assert weight.grad is None
