"""Kernel ridge regression as a head: against sklearn, its factor, and what no line can do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.payoff import linear_probe
from medvit.learn.tuning import kernel
from medvit.learn.tuning.kernel import RIDGE, SCALES, kernel_head, refit_kernel_head

NAMES = ("inside", "around")


def rings(n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return points (n, 2) of a disc and of a ring around it, in turns."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    angle = 2 * torch.pi * torch.rand(n, generator=generator)
    radius = 0.5 * torch.rand(n, generator=generator) + 1.5 * labels
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), labels


def test_logits_are_those_of_sklearn_but_for_one_factor() -> None:
    features, labels = rings(60)
    head = kernel_head(features, labels, names=NAMES)
    rule = KernelRidge(kernel="rbf", gamma=float(head.gamma), alpha=RIDGE)
    rule.fit(features.numpy(), 2.0 * np.eye(2)[labels.numpy()] - 1)
    asked, _ = rings(40, seed=1)
    wanted = rule.predict(asked.numpy())
    with torch.no_grad():
        found = head(asked).numpy()
    factor = float((found * wanted).sum() / (wanted**2).sum())
    np.testing.assert_allclose(found, factor * wanted, atol=2e-3 * abs(factor))
    assert float(SCALES[0]) <= factor <= float(SCALES[-1])


def test_the_factor_is_the_best_where_each_image_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = rings(30)
    noisy = labels.clone()
    noisy[:6] = 1 - noisy[:6]
    head = kernel_head(features, noisy, names=NAMES)
    gamma = float(head.gamma)
    left_out = []
    for place in range(len(features)):
        rest = [other for other in range(len(features)) if other != place]
        rule = KernelRidge(kernel="rbf", gamma=gamma, alpha=RIDGE)
        rule.fit(features[rest].numpy(), 2.0 * np.eye(2)[noisy[rest].numpy()] - 1)
        left_out.append(rule.predict(features[place : place + 1].numpy())[0])
    scores = torch.from_numpy(np.stack(left_out))
    losses = [float(F.cross_entropy(scale * scores, noisy)) for scale in SCALES]
    best = SCALES[int(np.argmin(losses))]
    monkeypatch.setattr(kernel, "SCALES", best[None])
    torch.testing.assert_close(head.weight, kernel_head(features, noisy, names=NAMES).weight)


def test_a_ring_is_told_from_its_inside_which_no_line_can() -> None:
    features, labels = rings(100)
    asked, truth = rings(200, seed=1)
    line = linear_probe(features, labels, classes=2, penalty=1e-3)
    with torch.no_grad():
        likeness = kernel_head(features, labels, names=NAMES)(asked).argmax(dim=1)
    assert float((likeness == truth).float().mean()) > 0.97
    assert float((line(asked).argmax(dim=1) == truth).float().mean()) < 0.8


def test_lengths_of_features_do_not_matter() -> None:
    features, labels = rings(40)
    asked, _ = rings(20, seed=1)
    with torch.no_grad():
        small = kernel_head(features, labels, names=NAMES)(asked)
        large = kernel_head(1000 * features, labels, names=NAMES)(1000 * asked)
    torch.testing.assert_close(small, large, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("features", "labels", "said"),
    [
        (torch.ones(4, 3), torch.tensor([0, 1, 0, 1]), "images that differ, got 4"),
        (torch.rand(4, 3), torch.zeros(4, dtype=torch.long), "around"),
        (torch.rand(6001, 1), torch.arange(6001) % 2, "at most 6000 images, all pairs, got 6001"),
    ],
)
def test_what_no_kernel_can_tell_apart_is_refused(
    features: Tensor, labels: Tensor, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        kernel_head(features, labels, names=NAMES)


def test_refitted_it_is_what_all_labels_at_once_would_give() -> None:
    features, labels = rings(90)
    names = (*NAMES, "outside")
    features[80:], labels[80:] = features[80:] + 9, 2
    first = kernel_head(features[:50], labels[:50], names=NAMES)
    refitted = refit_kernel_head(first, features[50:], labels[50:], names=names)
    whole = kernel_head(features, labels, names=names)
    torch.testing.assert_close(refitted.support, whole.support)
    torch.testing.assert_close(refitted.weight, whole.weight)
    asked, _ = rings(20, seed=1)
    torch.testing.assert_close(refitted(asked), whole(asked))
    assert refitted(asked + 9).argmax(dim=1).tolist() == [2] * 20


def test_an_image_that_comes_again_counts_by_its_new_label() -> None:
    features, labels = rings(40)
    wrong = labels.clone()
    wrong[:3] = 1 - wrong[:3]
    first = kernel_head(features, wrong, names=NAMES)
    mended = refit_kernel_head(first, features[:3], labels[:3], names=NAMES)
    order = [*range(3, 40), *range(3)]
    whole = kernel_head(features[order], labels[order], names=NAMES)
    torch.testing.assert_close(mended.weight, whole.weight, rtol=1e-4, atol=1e-3)


def test_a_class_without_an_image_cannot_be_refitted() -> None:
    features, labels = rings(20)
    head = kernel_head(features, labels, names=NAMES)
    with pytest.raises(ValueError, match="outside"):
        refit_kernel_head(head, features[:4] + 5, labels[:4], names=(*NAMES, "outside"))
