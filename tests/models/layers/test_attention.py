from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medvit.models.layers.attention import attend_in_boxes

HEADS, CHANNELS = 2, 4
COUNTS = (3, 2)
TOKENS, KEYS = (5, 2), (6, 2)
"""Two kinds of boxes, the first with a key that it lacks."""


def inputs(dtype: torch.dtype, *, b: int = 2) -> list[Tensor]:
    torch.manual_seed(0)
    width = 3 * HEADS * CHANNELS
    tokens = sum(count * n for count, n in zip(COUNTS, TOKENS, strict=True))
    shapes = [(b, tokens, width), (width,)]
    shapes += [(HEADS, n, keys) for n, keys in zip(TOKENS, KEYS, strict=True)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def attend(qkv: Tensor, filler: Tensor, *biases: Tensor) -> Tensor:
    return attend_in_boxes(qkv, filler, biases, COUNTS)


def by_hand(qkv: Tensor, filler: Tensor, *biases: Tensor) -> Tensor:
    """Attend box by box and head by head."""
    out = []
    for volume in qkv:
        seen, at = [], 0
        for bias, count in zip(biases, COUNTS, strict=True):
            n, keys = bias.shape[1:]
            for _ in range(count):
                rows = torch.cat([volume[at : at + n], filler.expand(keys - n, -1)])
                q, k, v = rows.view(keys, 3, HEADS, CHANNELS).permute(1, 2, 0, 3)
                scores = q[:, :n] @ k.mT / 2 + bias  # 2 is the root of 4 channels
                seen.append((torch.softmax(scores, -1) @ v).transpose(0, 1).flatten(1))
                at += n
        out.append(torch.cat(seen))
    return torch.stack(out)


@pytest.mark.parametrize("records", [True, False])
def test_attention_is_that_of_the_formula(*, records: bool) -> None:
    given = inputs(torch.float32)
    with torch.set_grad_enabled(records):
        torch.testing.assert_close(attend(*given), by_hand(*given))


@pytest.mark.parametrize("score_bytes", [1, 3 << 19])
def test_all_gradients_are_exact(score_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvit.models.layers.attention.SCORE_BYTES", score_bytes)
    given = [part.requires_grad_() for part in inputs(torch.float64)]
    assert torch.autograd.gradcheck(attend, given, fast_mode=True)


def test_a_known_answer_is_not_computed_again_and_gives_the_same_gradients() -> None:
    given = [part.requires_grad_() for part in inputs(torch.float64)]
    plain = attend(*given)
    known = attend_in_boxes(given[0], given[1], given[2:], COUNTS, known=plain.detach() + 0)
    weight = torch.randn_like(plain)
    for one, two in zip(
        torch.autograd.grad(plain, given, weight),
        torch.autograd.grad(known, given, weight),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_a_key_without_weight_has_no_gradient() -> None:
    qkv, filler, first, second = inputs(torch.float32)
    first[:, :, 5:] = -torch.inf
    filler.requires_grad_()
    out = attend(qkv.requires_grad_(), filler, first, second)
    grads = torch.autograd.grad(out.square().sum(), [qkv, filler])
    assert torch.isfinite(grads[0]).all()
    assert float(grads[1].abs().max()) == 0


def test_a_bias_that_requires_a_gradient_does_not_change_the_fused_result() -> None:
    given = inputs(torch.float32)
    with torch.no_grad():
        plain = attend(*given)
        assert torch.equal(plain, attend(*(part.requires_grad_() for part in given)))


@pytest.mark.parametrize("records", [True, False])
def test_scores_are_not_rounded_below_fp32(*, records: bool) -> None:
    qkv, filler, first, second = inputs(torch.float32)
    # Scores near 300 have a spacing of 2 in bf16: rounding them would make all weights equal.
    first = torch.arange(6.0).expand(2, 5, 6) * 0.5 + 300
    with torch.set_grad_enabled(records):
        found = attend(qkv * torch.cat([torch.zeros(8), torch.ones(16)]), filler, first, second)
    values = torch.cat([qkv[0, :5, 16:], filler[None, 16:]])
    expected = torch.softmax(torch.arange(6.0) * 0.5, 0) @ values
    torch.testing.assert_close(found[0, 0], expected)
