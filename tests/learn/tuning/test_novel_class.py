"""A class from five images by a likelihood ratio: what moves, what stays, what it cannot do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medvit.learn.tuning.novel_class import MOST_DIRECTIONS, add_novel_class
from medvit.models.heads.classify import build_head
from medvit.models.heads.novel import NovelHead


def test_the_ratio_by_hand() -> None:
    base = nn.Linear(2, 2)
    nn.init.zeros_(base.weight)
    nn.init.zeros_(base.bias)
    head = NovelHead(base, 2, old=2, means=2)
    head.old_means.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    head.mean.data = torch.tensor([0.0, 2.0])
    head.offset.data, head.scale.data = torch.tensor(1.0), torch.tensor(0.5)
    # (1, 2): squared distances 5 to the nearer old mean, 1 to the new one: ratio 2.
    assert head(torch.tensor([[1.0, 2.0]])).tolist() == [[0.0, 0.0, 1.5]]


def clouds(*, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return old features of two classes and five of a new one, stretched along one axis."""
    generator = torch.Generator().manual_seed(seed)
    stretch = torch.tensor([20.0, 1.0, 1.0])

    def cloud(place: list[float], n: int) -> torch.Tensor:
        return torch.randn(n, 3, generator=generator) * stretch + torch.tensor(place)

    old = torch.cat([cloud([0, 0, 0], count), cloud([0, 8, 0], count)])
    return old, cloud([0, 0, 8], 5)


@pytest.mark.parametrize("seed", range(3))
def test_five_images_are_enough_where_spread_hides_the_direction(seed: int) -> None:
    held_out, support = clouds(count=100, seed=seed)
    base = nn.Linear(3, 2)
    base.weight.data = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    base.bias.data = torch.tensor([0.0, -4.0])
    head = add_novel_class(base, support, held_out, most_moved=0.01)
    asked, fresh = clouds(count=200, seed=seed + 100)
    with torch.no_grad():
        assert torch.equal(head(asked)[:, :2], base(asked))
        assert int((head(held_out).argmax(1) == 2).sum()) <= 2  # 1 % of 200
        assert float((head(asked).argmax(1) == base(asked).argmax(1)).float().mean()) >= 0.97
        assert (head(fresh).argmax(1) == 2).all()


def test_a_card_builds_the_head_again() -> None:
    held_out, support = clouds(count=20, seed=1)
    first = add_novel_class(nn.Linear(3, 2), support, held_out)
    second = add_novel_class(first, support + 30, torch.cat([held_out, support]))
    plan = {"kind": "novel", "means": len(first.old_means), "base": {"kind": "linear"}}
    plan = {"kind": "novel", "means": len(second.old_means), "directions": 3, "base": plan}
    again = build_head(3, classes=4, plan=plan)
    again.load_state_dict(second.state_dict())
    torch.testing.assert_close(again(held_out), second(held_out), rtol=0, atol=0)


def test_of_many_features_few_old_images_are_lost() -> None:
    """By all 600 features, 300 images to learn from, one in ten new images of old classes moved."""
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(3, 600, generator=generator)
    spread = torch.cat([torch.full((100,), 2.0), torch.full((500,), 0.5)])

    def cloud(kind: int, n: int) -> torch.Tensor:
        return places[kind] + torch.randn(n, 600, generator=generator) * spread

    held_out = torch.cat([cloud(0, 150), cloud(1, 150)])
    base = nn.Linear(600, 2)
    base.weight.data, base.bias.data = places[:2], -(places[:2] ** 2).sum(1) / 2
    head = add_novel_class(base, cloud(2, 5), held_out, most_moved=0.01)
    assert head.whiten.shape == (600, MOST_DIRECTIONS)
    asked = torch.cat([cloud(0, 300), cloud(1, 300)])
    with torch.no_grad():
        assert float((head(asked).argmax(1) == 2).float().mean()) <= 0.02
        assert float((head(cloud(2, 100)).argmax(1) == 2).float().mean()) >= 0.9


def test_too_few_images_of_old_classes_are_refused() -> None:
    held_out, support = clouds(count=9, seed=1)
    with pytest.raises(ValueError, match=r"20 held-out images of old classes .* got 5 and 18"):
        add_novel_class(nn.Linear(3, 2), support, held_out)
