"""The linear head and its class maps."""

from __future__ import annotations

import pytest
import torch

from medvit.models.builders import build_model
from medvit.models.heads.classify import DefectClassifier
from medvit.models.vit import Vit, VitSettings


def classifier() -> DefectClassifier:
    torch.manual_seed(0)
    vit = Vit(VitSettings(embed_dim=16, depth=1, num_heads=2, stem_channels=(4, 8)))
    return DefectClassifier(vit, classes=3).eval()


def test_logits_are_the_head_on_the_mean_token() -> None:
    net, x = classifier(), torch.rand(2, 1, 40, 32)
    tokens = net.backbone(x)
    by_hand = tokens.sum(dim=(2, 3)) / 20 @ net.head.weight.T + net.head.bias
    torch.testing.assert_close(net(x), by_hand, atol=1e-5, rtol=1e-5)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        DefectClassifier(Vit(), classes=1)


def test_model_cards_build_it_by_name() -> None:
    net = build_model("defect_classifier", backbone="vit_tiny_stem", classes=7)
    assert net(torch.rand(1, 1, 32, 32)).shape == (1, 7)
