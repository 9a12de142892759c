"""Prototypes, caches, episodes and new classes against hand and slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.learn.tuning.cache import cache_head, choose_cache
from medvit.learn.tuning.episodes import draw_episode, score_episodes
from medvit.learn.tuning.lr import scaled_lr
from medvit.learn.tuning.new_class import add_class
from medvit.learn.tuning.prototype import cosine_head, shrunk_covariance, tied_covariance_head

NAMES = ("a", "b")


def clouds(
    n: int, *, dim: int = 6, classes: int = 2, seed: int = 0, spread: float = 0.4
) -> tuple[Tensor, Tensor]:
    """Return features (n, dim) about one centre a class, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.eye(dim)[:classes] * 2 + 1
    return centres[labels] + spread * torch.randn(n, dim, generator=generator), labels


def test_a_cosine_prototype_by_hand_does_not_depend_on_lengths_or_order() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 7.0], [-3.0, 0.0]])
    head = cosine_head(features, torch.tensor([0, 0, 1]), names=NAMES)
    half = 0.5**0.5  # of (1, 0) and (0, 1), normalised, averaged, normalised
    torch.testing.assert_close(head.weight.data, torch.tensor([[half, half], [-1.0, 0.0]]))
    again = cosine_head(features.flip(0) * 5, torch.tensor([1, 0, 0]), names=NAMES)
    torch.testing.assert_close(again.weight, head.weight)


@pytest.mark.parametrize("build", [cosine_head, tied_covariance_head])
def test_a_class_without_support_is_named(build: object) -> None:
    with pytest.raises(ValueError, match="none of b"):
        build(torch.rand(2, 3), torch.tensor([0, 0]), names=NAMES)  # type: ignore[operator]


def test_tied_covariance_ranks_as_the_mahalanobis_distance_does() -> None:
    features, labels = clouds(40)
    head = tied_covariance_head(features, labels, names=NAMES)
    wide = features.double()
    means = torch.stack([wide[labels == k].mean(0) for k in (0, 1)])
    inverse = torch.linalg.inv(shrunk_covariance(wide, means[labels]))
    with torch.no_grad():
        logits = head(features)
    for x, found in zip(wide, logits, strict=True):
        distances = [float((x - m) @ inverse @ (x - m)) for m in means]
        assert float(found[0] - found[1]) == pytest.approx(
            (distances[1] - distances[0]) / 2, abs=1e-3
        )


def test_shrinkage_equals_a_slow_loop_and_is_strong_for_few_images() -> None:
    def slow(x: Tensor) -> Tensor:
        n, d = x.shape
        outer = [row[:, None] * row for row in x]
        s = torch.stack(outer).mean(0)
        m = torch.trace(s) / d * torch.eye(d, dtype=x.dtype)
        noise = sum(float(((o - s) ** 2).sum()) for o in outer) / n**2
        share = min(1.0, noise / float(((s - m) ** 2).sum()))
        return share * m + (1 - share) * s

    x = torch.randn(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([3.0, 1, 1, 1, 0.2])
    x = x - x.mean(0)
    torch.testing.assert_close(shrunk_covariance(x, torch.zeros_like(x)), slow(x))
    few = shrunk_covariance(x[:4] - x[:4].mean(0), torch.zeros(4, 5, dtype=x.dtype))
    assert float(torch.linalg.cond(few)) < 1e3  # invertible though 4 < 5


def test_one_image_a_class_is_the_nearest_mean() -> None:
    support = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    head = tied_covariance_head(support, torch.tensor([0, 1]), names=NAMES)
    with torch.no_grad():
        assert head(torch.tensor([[1.9, 9.0], [2.1, -9.0]])).argmax(1).tolist() == [0, 1]


def test_a_cache_weighs_classes_alike_and_is_chosen_on_held_out_images() -> None:
    features, labels = clouds(21, classes=3, dim=8)
    names = ("a", "b", "c")
    base = torch.nn.Linear(8, 3)  # knows nothing
    head = cache_head(base, features, labels, names=names)
    torch.testing.assert_close(head.values.sum(0), torch.ones(3))
    before = float(F.cross_entropy(base(features), labels).detach())
    held_out, truth = clouds(30, classes=3, dim=8, seed=1)
    assert choose_cache(head, held_out, truth) < 0.5 * before
    assert float((head(held_out).argmax(1) == truth).float().mean()) > 0.9


def test_a_new_class_takes_at_most_the_share_of_old_images_it_may() -> None:
    old, labels = clouds(400)
    base = tied_covariance_head(old[:200], labels[:200], names=NAMES)
    new = (
        torch.ones(5, 6)
        + torch.eye(6)[4] * 2
        + 0.2 * torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    )
    head = add_class(base, new, old[200:], most_moved=0.01)
    with torch.no_grad():
        moved = head(old[200:]).argmax(1) == 2
        assert int(moved.sum()) <= 2
        assert torch.equal(head(old)[:, :2], base(old))
        assert (head(new).argmax(1) == 2).all()


def test_a_newcomer_that_looks_like_an_old_class_still_may_not_take_it() -> None:
    old, labels = clouds(200)
    base = tied_covariance_head(old, labels, names=NAMES)
    head = add_class(base, old[labels == 0][:5], old, most_moved=0.05)
    with torch.no_grad():
        assert int((head(old).argmax(1) == 2).sum()) <= 10


def test_too_few_held_out_images_are_refused_with_both_counts() -> None:
    with pytest.raises(ValueError, match="got 5 and 19"):
        add_class(torch.nn.Linear(6, 2), torch.rand(5, 6), torch.rand(19, 6))


def test_no_group_is_in_support_and_query_of_an_episode() -> None:
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    groups = ["p", "p", "q", "r", "s", "s", "t", "u"]
    for seed in range(20):
        episode = draw_episode(labels, groups, shots=2, rng=np.random.default_rng(seed))
        inside = {groups[index] for index in episode.support}
        assert not inside & {groups[index] for index in episode.query}
        assert [labels[index] for index in episode.support] == [0, 0, 1, 1]
        assert len({groups[index] for index in episode.support}) == 4
    with pytest.raises(ValueError, match="need 4 groups of each class, class 0 has 3"):
        draw_episode(labels, groups, shots=3, rng=np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["cosine", "tied_covariance"])
def test_separated_classes_are_told_apart_in_episodes(kind: str) -> None:
    features, labels = clouds(24, spread=0.2)
    groups = [str(index) for index in range(24)]
    rng = np.random.default_rng(0)
    found = score_episodes(features, labels, groups, shots=2, kind=kind, rng=rng)  # type: ignore[arg-type]
    assert found["accuracy"] > 0.98
    assert found["low"] <= found["accuracy"] <= found["high"]


def test_learning_rates_scale_with_the_images_of_an_update() -> None:
    assert scaled_lr(1.0, batch_size=64, rule="none") == 1.0
    assert scaled_lr(1.0, batch_size=64, accumulation=2, rule="linear") == scaled_lr(
        1.0, batch_size=128, rule="linear"
    )
    assert scaled_lr(1.0, batch_size=256, rule="square_root") == 1.0
