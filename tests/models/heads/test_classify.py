"""The linear heads on images and on volumes."""

from __future__ import annotations

import pytest
import torch

from medvit.models.builders import build_model
from medvit.models.heads.classify import DefectClassifier, VolumeClassifier
from medvit.models.segresnet import SegResNetEncoder
from medvit.models.swin3d import Swin3d
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


@pytest.mark.parametrize("name", ["swin3d_tiny", "segresnet_small"])
def test_a_volume_is_classified_and_gradients_reach_the_first_layer(name: str) -> None:
    torch.manual_seed(0)
    net = build_model("volume_classifier", backbone=name, classes=3)
    logits = net(torch.rand(2, 1, 32, 32, 64))
    assert logits.shape == (2, 3)
    logits.logsumexp(dim=1).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_volume_is_judged_by_the_mean_of_its_coarsest_map() -> None:
    torch.manual_seed(0)
    net = VolumeClassifier(SegResNetEncoder(width=4, blocks=(1, 1)), classes=2).eval()
    x = torch.rand(1, 1, 8, 8, 8)
    mean = net.backbone(x)[-1].sum(dim=(2, 3, 4)) / 8
    normed = (mean - mean.mean()) / (mean.var(unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(net(x), normed @ net.head.weight.T + net.head.bias)


def test_volumes_need_two_classes_too() -> None:
    with pytest.raises(ValueError, match="at least 2 classes, got 0"):
        VolumeClassifier(Swin3d(embed_dim=12, depths=(1,), num_heads=(1,)), classes=0)
