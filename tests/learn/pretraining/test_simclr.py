"""The contrastive loss against closed forms and a slow loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medvit.learn.pretraining.contrast import related
from medvit.learn.pretraining.simclr import SimclrLoss, SimclrNet, nt_xent
from medvit.learn.pretraining.surface_batches import SurfaceBatch


def slow_nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Equation 1 of Chen 2020 as nested loops."""
    z = [v / v.norm() for v in (*first, *second)]
    n, total = len(first), 0.0
    for i in range(2 * n):
        scores = [math.exp(float(z[i] @ z[k]) / temperature) for k in range(2 * n)]
        total -= math.log(scores[(i + n) % (2 * n)] / (sum(scores) - scores[i]))
    return total / (2 * n)


@given(
    n=st.integers(1, 6),
    temperature=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_the_loss_equals_the_slow_loop(n: int, temperature: float, seed: int) -> None:
    drawn = torch.randn(2, n, 5, generator=torch.Generator().manual_seed(seed)).double()
    fast = nt_xent(drawn[0], drawn[1], temperature=temperature)
    assert float(fast) == pytest.approx(slow_nt_xent(drawn[0], drawn[1], temperature), abs=1e-5)


def test_equal_vectors_give_the_log_of_the_others() -> None:
    z = torch.ones(4, 3)
    torch.testing.assert_close(nt_xent(z, z, temperature=0.5), torch.tensor(7.0).log())


def test_perfect_pairs_among_orthogonal_others_have_a_closed_form() -> None:
    z = torch.eye(4)
    expected = math.log(1 + 6 * math.exp(-1 / 0.5))
    assert float(nt_xent(z, z, temperature=0.5)) == pytest.approx(expected, abs=1e-6)


def test_random_vectors_of_many_dimensions_are_near_the_log_of_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 16, 20_000, generator=generator)
    assert float(nt_xent(first, second, temperature=1.0)) == pytest.approx(math.log(31), abs=0.02)


def test_swapping_views_or_permuting_the_batch_changes_nothing() -> None:
    first, second = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(1))
    loss = nt_xent(first, second, temperature=0.2)
    order = torch.randperm(8)
    torch.testing.assert_close(nt_xent(second, first, temperature=0.2), loss)
    torch.testing.assert_close(nt_xent(first[order], second[order], temperature=0.2), loss)


def test_the_loss_is_computed_in_full_precision_under_autocast() -> None:
    first, second = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(first, second, temperature=0.2)
    torch.testing.assert_close(loss, nt_xent(first, second, temperature=0.2))


def test_the_objective_reads_a_pair_of_views() -> None:
    class Grid(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.expand(-1, 4, -1, -1)

    loss = SimclrLoss(SimclrNet(Grid(), channels=4), temperature=0.5)
    value = loss(SurfaceBatch(torch.rand(2, 3, 1, 8, 8), torch.arange(3)))
    value.backward()
    assert value.shape == ()


def test_views_of_different_shapes_are_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\), \(4, 3\)"):
        nt_xent(torch.ones(2, 3), torch.ones(4, 3), temperature=0.5)


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive, got 0"):
        nt_xent(torch.ones(2, 3), torch.ones(2, 3), temperature=0.0)


def test_images_of_one_group_do_not_repel_each_other() -> None:
    first, second = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(2))
    spared = related(torch.tensor([4, 4, 9]))
    found = nt_xent(first, second, temperature=0.5, spared=spared)
    z = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    scores, total = (z @ z.T / 0.5).exp(), 0.0
    seen = {0: (2, 3, 5), 1: (2, 4, 5), 2: (0, 1, 3, 4, 5), 3: (0, 2, 5), 4: (1, 2, 5)}
    seen[5] = (0, 1, 2, 3, 4)
    for row, columns in seen.items():
        total -= math.log(scores[row, (row + 3) % 6] / scores[row, list(columns)].sum())
    assert float(found) == pytest.approx(total / 6, abs=1e-6)
