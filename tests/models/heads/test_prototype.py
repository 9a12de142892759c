"""Heads that compare features with those of labelled images."""

from __future__ import annotations

import pytest
import torch

from medvit.models.heads.classify import build_head
from medvit.models.heads.prototype import CacheHead, CosineHead, GrownHead


def test_cosine_logits_by_hand_and_the_length_of_features_does_not_matter() -> None:
    head = CosineHead(2, 2)
    head.weight.data = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    features = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(head(features), torch.tensor([[6.0, 8.0]]))  # 10 * (0.6, 0.8)
    torch.testing.assert_close(head(100 * features), head(features))


def cache(base: torch.nn.Module) -> CacheHead:
    head = CacheHead(base, 2, classes=2, keys=2)
    head.weight.data = torch.eye(2)
    head.values.copy_(torch.eye(2))
    return head


def test_a_cache_without_weight_is_its_base_and_a_key_gets_its_class() -> None:
    base = torch.nn.Linear(2, 2)
    head, query = cache(base), torch.tensor([[0.0, 5.0]])
    head.alpha.fill_(0.0)
    assert torch.equal(head(query), base(query))
    head.alpha.fill_(1.0)
    head.beta.fill_(50.0)
    torch.testing.assert_close(head(query) - base(query), torch.tensor([[0.0, 1.0]]))


def test_old_logits_of_a_grown_head_are_the_same_to_the_bit() -> None:
    torch.manual_seed(0)
    base = torch.nn.Linear(64, 7)
    grown = GrownHead(base, 64, old=7, added=2)
    torch.nn.init.normal_(grown.weight)
    x = torch.randn(33, 64)
    assert torch.equal(grown(x)[:, :7], base(x))
    assert grown(x).shape == (33, 9)
    assert grown.out_features == 9


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"kind": "cosine"},
        {"kind": "kernel", "keys": 3},
        {"kind": "cache", "keys": 3, "base": {"kind": "cosine"}},
        {"kind": "grown", "added": 1, "base": {"kind": "cache", "keys": 2}},
    ],
)
def test_a_head_is_built_as_its_plan_says(plan: dict[str, object]) -> None:
    head = build_head(4, classes=3, plan=plan)
    other = build_head(4, classes=3, plan=plan)
    other.load_state_dict(head.state_dict())
    x = torch.rand(2, 4)
    assert head(x).shape == (2, 3)
    assert torch.equal(head(x), other(x))


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="got 'tree'"):
        build_head(4, classes=3, plan={"kind": "tree"})
