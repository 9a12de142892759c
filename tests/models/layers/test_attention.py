from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medvit.models.layers.attention import attend


def inputs(dtype: torch.dtype, *, b: int = 3, n: int = 5, keys: int = 6) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(b, 2, n, 4), (b, 2, keys, 4), (b, 2, keys, 4), (2, n, keys)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def by_hand(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT / 2 + bias, dim=-1) @ v  # 2 is the root of 4 channels


@pytest.mark.parametrize("records", [True, False])
def test_attention_is_that_of_the_formula(*, records: bool) -> None:
    given = inputs(torch.float32)
    with torch.set_grad_enabled(records):
        torch.testing.assert_close(attend(*given), by_hand(*given))


def test_all_gradients_are_exact() -> None:
    given = [part.requires_grad_() for part in inputs(torch.float64)]
    assert torch.autograd.gradcheck(attend, given)


def test_a_bias_that_requires_a_gradient_does_not_change_the_fused_result() -> None:
    q, k, v, bias = inputs(torch.float32)
    with torch.no_grad():
        assert torch.equal(attend(q, k, v, bias), attend(q, k, v, bias.requires_grad_()))


@pytest.mark.parametrize("records", [True, False])
def test_bf16_keeps_the_softmax_in_fp32(*, records: bool) -> None:
    q, k, v, bias = inputs(torch.bfloat16)
    # Scores near 300 have a spacing of 2 in bf16: rounding them would make all weights equal.
    bias = torch.arange(6.0).expand(2, 5, 6) * 0.5 + 300
    with torch.set_grad_enabled(records):
        found = attend(q * 0, k, v, bias)
    expected = torch.softmax(torch.arange(6.0) * 0.5, 0) @ v.float()
    torch.testing.assert_close(found[:, :, 0].float(), expected, atol=0.03, rtol=0)
