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
    return DefectClassifier(vit, channels=16, classes=3).eval()


def test_class_maps_add_up_to_the_logits() -> None:
    net, x = classifier(), torch.rand(2, 1, 40, 32)
    maps = net.class_maps(x)
    assert maps.shape == (2, 3, 5, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), net(x), atol=1e-5, rtol=1e-5)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        DefectClassifier(torch.nn.Identity(), channels=4, classes=1)


def test_model_cards_build_it_by_name() -> None:
    net = build_model("defect_classifier", backbone="vit_tiny_stem", classes=7)
    assert net(torch.rand(1, 1, 32, 32)).shape == (1, 7)
