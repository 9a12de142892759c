"""Two networks that teach each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.noise.co_teaching import CoTeaching, easy_ones, mean_of
from medvit.learn.noise.two_nets import Pair, evenly_wrong

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (40,), generator=torch.Generator().manual_seed(1))
PLACES = torch.arange(40)


def teaching(rate: float) -> CoTeaching:
    torch.manual_seed(0)
    pair = Pair((nn.Linear(5, 3), nn.Linear(5, 3)))
    return CoTeaching(pair, evenly_wrong(Y, classes=3, rate=rate))


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters()), retain_graph=True))


def test_without_noise_both_are_trained_plainly() -> None:
    learner = teaching(0.0)
    learner.begin_epoch(50)
    answer = learner((X, Y, PLACES))
    assert float(answer["kept"]) == 1
    for net in learner.nets:
        expected = gradients(F.cross_entropy(net(X), Y), net)
        torch.testing.assert_close(gradients(answer["loss"], net), expected)


def test_each_learns_from_the_smallest_losses_of_the_other() -> None:
    learner = teaching(0.4)
    learner.begin_epoch(10)
    loss = learner((X, Y, PLACES))["loss"]
    first, second = learner.nets
    for net, peer in ((first, second), (second, first)):
        theirs = F.cross_entropy(peer(X), Y, reduction="none").detach().tolist()
        chosen = []
        for label in range(3):
            own = sorted((theirs[i], i) for i in range(40) if Y[i] == label)
            chosen += [i for _, i in own[: -(-len(own) * 6 // 10)]]
        expected = gradients(F.cross_entropy(net(X[chosen]), Y[chosen]), net)
        torch.testing.assert_close(gradients(loss, net), expected)


def test_a_batch_is_ranked_among_all_images_of_the_class() -> None:
    learner = teaching(0.5)
    learner.begin_epoch(10)
    learner.seen.fill_(0.0)  # all others are easier than any of the batch
    rare = torch.nonzero(Y == 2).flatten()[:1]
    answer = learner((X[rare], Y[rare], rare))
    assert float(answer["kept"]) == 0  # a quota of the batch would have kept it
    assert float(answer["loss"].detach()) == 0
    assert bool((learner.seen[:, rare] > 0).all())


@pytest.mark.parametrize(("epoch", "share"), [(0, 1.0), (5, 0.9), (10, 0.8), (30, 0.8)])
def test_the_share_left_out_grows_to_the_noise_rate(epoch: int, share: float) -> None:
    learner = teaching(0.2)
    learner.begin_epoch(epoch)
    torch.testing.assert_close(learner.kept_shares, torch.full((3,), share))


def test_a_rare_class_with_large_losses_is_not_left_out() -> None:
    losses = torch.cat([torch.linspace(0, 1, 98), torch.tensor([50.0, 60.0])])
    labels = torch.tensor([0] * 98 + [1] * 2)
    kept = easy_ones(losses, labels, shares=torch.tensor([0.5, 0.05]))
    assert torch.nonzero(kept[98:]).flatten().tolist() == [0]
    assert int(kept.sum()) == 50


def test_the_mean_of_nothing_is_zero_and_has_a_gradient() -> None:
    terms = torch.tensor([1.0, 3.0], requires_grad=True)
    assert float(mean_of(terms, torch.tensor([True, True])).detach()) == 2
    nothing = mean_of(terms, torch.tensor([False, False]))
    assert float(nothing.detach()) == 0
    assert torch.autograd.grad(nothing, terms)[0].tolist() == [0, 0]


def test_more_than_half_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 to 0\.5, got 0\.6"):
        teaching(0.6)
