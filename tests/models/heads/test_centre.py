from __future__ import annotations

import torch

from medvit.models.builders import nodule_detector
from medvit.models.heads.centre import ChannelNorm


def test_maps_have_half_the_sides_and_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    net = nodule_detector(backbone="swin3d_tiny", width=8)
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
