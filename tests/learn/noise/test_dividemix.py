"""DivideMix: dividing, refining, guessing, mixing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.noise.dividemix import DivideMix, MixSettings, sharpen
from medvit.learn.noise.two_nets import NoisyLabels, Pair, evenly_wrong

CLASSES = 3
CENTRES = 3.0 * torch.eye(CLASSES, 6)
PRIOR = torch.tensor([60.0, 30.0, 10.0])


def two_nets() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Linear(6, CLASSES), nn.Linear(6, CLASSES)


def problem(n: int = 200) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return two views, wrong labels for a fifth, right labels."""
    rng = torch.Generator().manual_seed(1)
    truth = torch.multinomial(PRIOR, n, replacement=True, generator=rng)
    x = CENTRES[truth]
    first, second = (x + 0.7 * torch.randn(n, 6, generator=rng) for _ in range(2))
    wrong = torch.rand(n, generator=rng) < 0.2
    labels = torch.where(wrong, (truth + 1) % CLASSES, truth)
    return first, second, labels, truth


def noisy(labels: Tensor) -> NoisyLabels:
    known = evenly_wrong(labels, classes=CLASSES, rate=0.2)
    return replace(known, prior=PRIOR / PRIOR.sum())


def divided(settings: MixSettings, labels: Tensor, clean: Tensor) -> DivideMix:
    mix = DivideMix(Pair(two_nets()), noisy(labels), settings=settings)
    mix.begin_epoch(settings.warm_up + settings.ramp)
    mix.clean.copy_(clean)
    return mix


def test_the_warm_up_is_plain_training_of_both() -> None:
    first, second, labels, _ = problem()
    nets = two_nets()
    mix = DivideMix(Pair(nets), noisy(labels))
    mix.begin_epoch(9, torch.rand(2, 200))
    expected = sum(F.cross_entropy(net(first), labels) for net in nets)
    answer = mix((first, second, labels, torch.arange(200)))
    torch.testing.assert_close(answer["loss"], expected)


def test_planted_noise_is_found_and_images_are_divided_by_the_other_network() -> None:
    first, _, labels, truth = problem()
    net = nn.Linear(6, CLASSES)
    with torch.no_grad():
        net.weight.copy_(CENTRES)
        net.bias.fill_(0)
        losses = F.cross_entropy(net(first), labels, reduction="none")
    mix = DivideMix(Pair(two_nets()), noisy(labels))
    mix.begin_epoch(10, torch.stack([losses, torch.ones(200)]))
    assert mix.found == (True, False)
    is_right = labels == truth
    ranks = mix.clean[0].argsort().argsort().float()
    auroc = (ranks[is_right][:, None] > ranks[~is_right]).float().mean()
    assert float(auroc) >= 0.95
    assert float(mix.clean[1].min()) == 1  # one bump: all labels stay


@pytest.mark.parametrize("weight", [0.0, 25.0])
def test_the_loss_is_the_one_a_loop_gives(weight: float) -> None:
    first, second, labels, _ = problem(8)
    clean = torch.tensor([[0.9, 0.2, 0.7, 0.1, 1.0, 0.8, 0.3, 0.6]] * 2)
    mix = divided(MixSettings(unlabelled_weight=weight), labels, clean)
    torch.manual_seed(5)
    found = mix((first, second, labels, torch.arange(8)))["loss"]
    torch.manual_seed(5)
    expected = torch.zeros(())
    mean = [(n(first).softmax(1) + n(second).softmax(1)).detach() / 2 for n in mix.nets]
    for number, net in enumerate(mix.nets):
        wanted, right = [], []
        for i in range(8):
            w = float(clean[1 - number, i])
            hot = torch.eye(CLASSES)[labels[i]]
            p = w * hot + (1 - w) * mean[number][i] if w > 0.5 else (mean[0][i] + mean[1][i]) / 2
            wanted.append(p**2 / (p**2).sum())
            right.append(w > 0.5)
        y = torch.stack(wanted)
        share = torch.distributions.Beta(4.0, 4.0).sample()
        share = max(share, 1 - share)
        other = torch.randperm(8)
        logits = net(share * first + (1 - share) * second[other])
        target = share * y + (1 - share) * y[other]
        is_right = torch.tensor(right)
        log_p, p = logits.log_softmax(1), logits.softmax(1)
        expected = expected - (target * log_p).sum(1)[is_right].mean()
        expected = expected + weight * ((p - target) ** 2)[~is_right].mean()
        prior = PRIOR / PRIOR.sum()
        expected = expected + (prior * (prior / p.mean(0)).log()).sum()
    torch.testing.assert_close(found, expected)


def test_a_label_that_is_surely_right_is_not_changed() -> None:
    hot = torch.eye(CLASSES)
    torch.testing.assert_close(sharpen(hot, 0.5), hot)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_a_batch_of_one_kind_gives_a_finite_loss(fill: float) -> None:
    first, second, labels, _ = problem(8)
    mix = divided(MixSettings(unlabelled_weight=25.0), labels, torch.full((2, 8), fill))
    loss = mix((first, second, labels, torch.arange(8)))["loss"]
    assert bool(torch.isfinite(loss))


def test_it_learns_through_the_noise() -> None:
    first, second, labels, truth = problem(400)
    places = torch.arange(400)
    mix = DivideMix(Pair(two_nets()), noisy(labels), settings=MixSettings(warm_up=15))
    optimiser = torch.optim.Adam(mix.parameters(), lr=0.05)
    for epoch in range(60):
        with torch.no_grad():
            seen = [F.cross_entropy(net(first), labels, reduction="none") for net in mix.nets]
        mix.begin_epoch(epoch, torch.stack(seen))
        optimiser.zero_grad()
        mix((first, second, labels, places))["loss"].backward()
        optimiser.step()
    guess = mix.nets[0](second).argmax(1)
    assert float((guess == truth).float().mean()) > 0.97


def test_no_class_is_left_without_right_labels() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    losses = torch.cat([torch.linspace(0.0, 0.2, 90), torch.linspace(4.0, 5.0, 10)])
    known = evenly_wrong(labels, classes=2, rate=0.2)
    mix = DivideMix(Pair((nn.Linear(6, 2), nn.Linear(6, 2))), known)
    mix.begin_epoch(10, torch.stack([losses, losses]))
    rare = mix.clean[0, 90:] > 0.5
    assert rare.tolist() == [True] * 4 + [False] * 6  # half of the 80 % that are right


def test_the_weight_of_guesses_grows_after_the_warm_up() -> None:
    first, second, labels, _ = problem(8)
    clean = torch.tensor([[0.9, 0.2, 0.7, 0.1, 1.0, 0.8, 0.3, 0.6]] * 2)
    batch = (first, second, labels, torch.arange(8))
    found = []
    for epoch in (10, 17, 25, 60):
        mix = divided(MixSettings(unlabelled_weight=100.0), labels, clean)
        mix.epoch = epoch
        torch.manual_seed(5)
        found.append(float(mix(batch)["loss"].detach()))
    steps = [late - early for early, late in pairwise(found)]
    assert steps[0] / steps[1] == pytest.approx(7 / 8, rel=1e-3)  # of 16 epochs
    assert steps[2] == 0
