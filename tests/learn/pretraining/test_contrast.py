"""Gradient caching is exact, and batch norms do not count images twice."""

from __future__ import annotations

import copy

import torch
from torch import nn

from medvit.learn.pretraining.contrast import mean_features
from medvit.learn.pretraining.kept_patches import draw_order, patchify, unpatchify
from medvit.learn.pretraining.simclr import SimclrLoss, SimclrNet
from medvit.learn.pretraining.surface_batches import SurfaceBatch
from medvit.models.vit import Vit, VitSettings


def batch() -> SurfaceBatch:
    views = torch.rand(2, 6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return SurfaceBatch(views, torch.arange(6))


def gradients(net: SimclrNet) -> dict[str, torch.Tensor]:
    SimclrLoss(net, temperature=0.2)(batch()).backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def plain_net() -> SimclrNet:
    torch.manual_seed(1)
    settings = VitSettings(
        embed_dim=16, depth=2, num_heads=2, stem_channels=(), patch_px=8, drop_path=0.0
    )
    return SimclrNet(Vit(settings), channels=16)


def test_chunks_give_the_gradients_of_the_whole_batch() -> None:
    whole, parts = plain_net().double(), plain_net().double()
    parts.load_state_dict(whole.state_dict())
    parts.chunk = 5  # 12 views: 5, 5 and 2
    views = batch().views.double()
    for net in (whole, parts):
        SimclrLoss(net, temperature=0.2)(SurfaceBatch(views, batch().groups)).backward()
    for (name, one), two in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert one.grad is not None, name
        torch.testing.assert_close(two.grad, one.grad, atol=1e-12, rtol=1e-9, msg=name)
    single, cached = plain_net(), plain_net()
    cached.chunk = 4
    expected = gradients(single)
    for name, value in gradients(cached).items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-5, msg=name)


def test_random_depth_is_the_same_when_a_chunk_runs_again() -> None:
    torch.manual_seed(1)
    settings = VitSettings(
        embed_dim=16, depth=2, num_heads=2, stem_channels=(), patch_px=8, drop_path=0.5
    )
    net = Vit(settings)
    images = batch().views[0].requires_grad_()
    torch.manual_seed(5)
    chunked = mean_features(net, images, chunk=2)
    torch.manual_seed(5)
    by_hand = torch.cat([net(piece).mean(dim=(2, 3)) for piece in torch.split(images, 2)])
    torch.testing.assert_close(chunked, by_hand)
    found = torch.autograd.grad(chunked.square().sum(), images)[0]
    expected = torch.autograd.grad(by_hand.square().sum(), images)[0]
    torch.testing.assert_close(found, expected)


def test_statistics_are_counted_once() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    other = copy.deepcopy(net)
    images = batch().views[0]
    torch.autograd.backward(mean_features(net, images, chunk=3).sum())
    for piece in torch.split(images, 3):
        other(piece)
    mean, expected = (part[1].running_mean for part in (net, other))
    torch.testing.assert_close(mean, expected)
    assert net[1].momentum == 0.1


def test_a_vit_in_training_sees_a_share_of_its_patches_and_all_of_them_otherwise() -> None:
    net = plain_net().backbone
    images = batch().views[0]  # 16 px: 4 patches of 8 px
    torch.manual_seed(3)
    kept = draw_order(6, 4)[:, :2]
    seen = torch.zeros(6, 4, dtype=torch.bool).scatter(1, kept, value=True)
    patches = patchify(images, patch_px=8)
    hidden = unpatchify(torch.where(seen[..., None], patches, 0), patch_px=8, side_px=16)
    found = []
    for shown in (images, hidden):
        torch.manual_seed(3)
        found.append(mean_features(net, shown, keep_share=0.5))
    torch.testing.assert_close(found[0], found[1])
    whole = mean_features(net.eval(), images, keep_share=0.5)
    torch.testing.assert_close(whole, net(images).mean(dim=(2, 3)))
