"""Two networks that teach each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.noise.co_teaching import CoTeaching, smallest

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (40,), generator=torch.Generator().manual_seed(1))


def two_nets() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Linear(5, 3), nn.Linear(5, 3)


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters()), retain_graph=True))


def test_without_noise_both_are_trained_plainly() -> None:
    nets = two_nets()
    teaching = CoTeaching(nets, noise_rate=0.0)
    teaching.begin_epoch(50)
    answer = teaching((X, Y))
    assert float(answer["kept"]) == 1
    for net in nets:
        expected = gradients(F.cross_entropy(net(X), Y), net)
        torch.testing.assert_close(gradients(answer["loss"], net), expected)


def test_each_learns_from_the_smallest_losses_of_the_other() -> None:
    nets = two_nets()
    teaching = CoTeaching(nets, noise_rate=0.4)
    teaching.begin_epoch(10)
    loss = teaching((X, Y))["loss"]
    for net, peer in (nets, nets[::-1]):
        theirs = F.cross_entropy(peer(X), Y, reduction="none").detach().tolist()
        chosen = []
        for label in range(3):
            own = sorted((theirs[i], i) for i in range(40) if Y[i] == label)
            chosen += [i for _, i in own[: -(-len(own) * 6 // 10)]]
        expected = gradients(F.cross_entropy(net(X[chosen]), Y[chosen]), net)
        torch.testing.assert_close(gradients(loss, net), expected)


@pytest.mark.parametrize(("epoch", "share"), [(0, 1.0), (5, 0.9), (10, 0.8), (30, 0.8)])
def test_the_share_left_out_grows_to_the_noise_rate(epoch: int, share: float) -> None:
    teaching = CoTeaching(two_nets(), noise_rate=0.2)
    teaching.begin_epoch(epoch)
    assert teaching.kept_share == pytest.approx(share)


def test_a_rare_class_with_large_losses_is_not_left_out() -> None:
    losses = torch.cat([torch.linspace(0, 1, 98), torch.tensor([50.0, 60.0])])
    targets = torch.tensor([0] * 98 + [1] * 2)
    kept = smallest(losses, targets, share=0.5)
    assert (targets[kept] == 1).sum() == 1
    assert len(kept) == 50


def test_more_than_half_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 to 0\.5, got 0\.6"):
        CoTeaching(two_nets(), noise_rate=0.6)
