from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medvit.models.layers.in_chunks import in_chunks
from medvit.models.layers.windows import Chunk

CHUNKS = (
    Chunk(torch.tensor([4, 0]), ((0, 1),)),
    Chunk(torch.tensor([1, 3, 2]), ((1, 1),)),
)


def mix(x: Tensor, chunk: Chunk, weights: Sequence[Tensor]) -> Tensor:
    """Add the mean of the chunk, times a weight of its kind."""
    kind = chunk.parts[0][0]
    return x + weights[kind] * x.mean(1, keepdim=True) ** 2


def test_without_gradients_the_tokens_are_overwritten() -> None:
    x = torch.arange(5.0).view(1, 5, 1)
    with torch.no_grad():
        out = in_chunks(mix, CHUNKS, x, [torch.tensor(1.0), torch.tensor(10.0)])
    assert out is x
    assert out.flatten().tolist() == [4.0, 41.0, 42.0, 43.0, 8.0]  # means 2 and 2


def test_with_gradients_the_tokens_are_kept() -> None:
    x = torch.arange(5.0).view(1, 5, 1)
    out = in_chunks(mix, CHUNKS, x, [torch.tensor(1.0), torch.tensor(10.0)])
    assert x.flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert out.flatten().tolist() == [4.0, 41.0, 42.0, 43.0, 8.0]


def test_gradients_of_tokens_and_weights_are_exact() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    weights = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(
        lambda *given: in_chunks(mix, CHUNKS, given[0], given[1:]), (x, *weights)
    )


def test_a_weight_that_no_chunk_uses_has_no_gradient() -> None:
    x = torch.randn(1, 5, 3, requires_grad=True)
    used, unused = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    chunks = (CHUNKS[0], Chunk(CHUNKS[1].tokens, ((0, 1),)))
    loss: Tensor = in_chunks(mix, chunks, x, [used, unused]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert used.grad is not None
    assert unused.grad is None
