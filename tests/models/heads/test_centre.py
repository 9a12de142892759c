from __future__ import annotations

import pytest
import torch
from torch import nn

from medvit.errors import ConfigError
from medvit.models.backbone import Backbone3d
from medvit.models.builders import nodule_detector
from medvit.models.heads.centre import NoduleDetector
from medvit.models.layers.channel_norm import ChannelNorm, tile_dependent_parts
from medvit.models.segresnet import SegResNetEncoder
from medvit.models.swin3d import Swin3d


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin3d_tiny", "segresnet_small"])
def test_maps_have_half_the_sides_and_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    net = nodule_detector(backbone=name, width=8)
    maps = net(torch.rand(2, 1, 32, 32, 64))
    assert maps.heat.shape == (2, 1, 16, 16, 32)
    assert maps.log_diameter.shape == (2, 1, 16, 16, 32)
    assert maps.offset.shape == (2, 3, 16, 16, 32)
    sum(part.square().sum() for part in maps).backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_a_fresh_detector_expects_few_nodules_of_the_usual_size() -> None:
    torch.manual_seed(0)
    maps = nodule_detector(backbone="swin3d_tiny", width=8).eval()(torch.rand(1, 1, 32, 32, 32))
    assert maps.heat.sigmoid().mean() < 0.05
    assert 5 < maps.log_diameter.exp().mean() < 10


def test_items_of_a_batch_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    net = nodule_detector(backbone="swin3d_tiny", width=8).eval()
    x = torch.rand(3, 1, 32, 32, 32)
    with torch.inference_mode():
        together, alone = net(x).heat[1:2], net(x[1:2]).heat
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_channel_norm_sees_one_voxel_only() -> None:
    norm = ChannelNorm(4)
    x = torch.randn(1, 4, 3, 3, 3)
    changed = x.clone()
    changed[..., 0, 0, 0] += 5 * torch.arange(4.0)
    same = norm(x)[..., 1:, 1:, 1:]
    assert torch.equal(same, norm(changed)[..., 1:, 1:, 1:])
    torch.testing.assert_close(norm(x).mean(dim=1), torch.zeros(1, 3, 3, 3), atol=1e-6, rtol=0)


BACKBONES_3D = ("swin3d_tiny", "swin3d_base", "segresnet_small")


@pytest.mark.parametrize("name", BACKBONES_3D)
def test_no_part_of_a_detector_sees_the_whole_tile(name: str) -> None:
    assert tile_dependent_parts(nodule_detector(backbone=name, width=8)) == []


@pytest.mark.parametrize(
    "backbone",
    [
        Swin3d(embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=4),
        SegResNetEncoder(width=8, blocks=(1, 1, 1)),
    ],
    ids=["swin", "segresnet"],
)
def test_a_score_does_not_depend_on_what_lies_far_off_in_the_tile(backbone: Backbone3d) -> None:
    torch.manual_seed(0)
    net = NoduleDetector(backbone, width=8).eval()
    x = torch.rand(1, 1, 16, 16, 256)
    changed = x.clone()
    changed[..., :32] = 1 - changed[..., :32]
    with torch.inference_mode():
        before, after = net(x).heat, net(changed).heat
    assert (before - after)[..., :16].abs().max() > 1e-4
    torch.testing.assert_close(after[..., -16:], before[..., -16:], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(1, 4), nn.InstanceNorm3d(4), nn.BatchNorm3d(4), nn.SyncBatchNorm(4)]
)
def test_norms_over_the_tile_or_the_batch_are_refused(norm: nn.Module) -> None:
    backbone = SegResNetEncoder(width=4, blocks=(1, 1))
    backbone.levels[1].append(norm)
    with pytest.raises(ValueError, match="scores must not depend on the tile") as error:
        NoduleDetector(backbone, width=8)
    assert f"backbone.levels.1.2 ({type(norm).__name__})" in str(error.value)


def test_sides_that_do_not_divide_by_the_stride_are_refused() -> None:
    net = nodule_detector(backbone="swin3d_tiny", width=8)
    with pytest.raises(ValueError, match=r"must divide by 2, got \(32, 31, 32\)"):
        net(torch.zeros(1, 1, 32, 31, 32))


def test_a_backbone_for_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="volumes need a 3D backbone, got 'vit_tiny_stem'"):
        nodule_detector(backbone="vit_tiny_stem")
