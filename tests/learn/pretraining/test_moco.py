"""MoCo v3: the running mean by hand, a frozen projection, and a loss that knows no order."""

from __future__ import annotations

import math

import pytest
import torch

from medvit.learn.pretraining.moco import (
    MocoLoss,
    MocoNet,
    MocoSettings,
    contrast,
    draw_blocks,
    momentum_at,
    patch_projection,
)
from medvit.learn.pretraining.surface_batches import SurfaceBatch
from medvit.models.vit import Vit, VitSettings

TINY = VitSettings(embed_dim=16, depth=1, num_heads=2, stem_channels=(), patch_px=8)


def objective(steps: int = 10, *, freeze: bool = True, spare: bool = False) -> MocoLoss:
    torch.manual_seed(0)
    settings = MocoSettings(hidden=16, out=8, freeze_patches=freeze, spare_groups=spare)
    net = MocoNet(Vit(TINY), channels=16, settings=settings)
    return MocoLoss(net, settings=settings, steps=steps)


def batch(n: int = 6) -> SurfaceBatch:
    views = torch.rand(2, n, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return SurfaceBatch(views, torch.arange(n))


def test_the_loss_is_the_cross_entropy_of_keys_times_twice_the_temperature() -> None:
    q, k = torch.eye(3), torch.eye(3)
    expected = math.log(1 + 2 * math.exp(-1 / 0.2)) * 2 * 0.2
    assert float(contrast(q, k, temperature=0.2)) == pytest.approx(expected, abs=1e-6)
    spared = torch.zeros(3, 3, dtype=torch.bool)
    spared[0, 1] = spared[1, 0] = True
    fewer = math.log(1 + math.exp(-5))
    expected = (2 * fewer + math.log(1 + 2 * math.exp(-5))) / 3 * 0.4
    found = contrast(q, k, temperature=0.2, spared=spared)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_the_running_mean_moves_as_by_hand_before_the_keys() -> None:
    loss = objective(steps=4)
    with torch.no_grad():
        for parameter in loss.net.backbone.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in loss.net.mean_backbone.parameters()]
    parts = loss(batch())
    assert float(parts["momentum"]) == pytest.approx(0.99)
    pairs = zip(before, loss.net.backbone.parameters(), strict=True)
    expected = [0.99 * old + 0.01 * own for old, own in pairs]
    for mean, hand in zip(loss.net.mean_backbone.parameters(), expected, strict=True):
        torch.testing.assert_close(mean, hand, atol=1e-6, rtol=0)
    second = loss(batch())["momentum"]
    assert float(second) == pytest.approx(momentum_at(1, steps=4, first=0.99))


def test_evaluation_moves_nothing() -> None:
    loss = objective().eval()
    loss(batch())
    assert int(loss.step) == 0


def test_a_step_leaves_the_patch_projection_and_moves_the_rest() -> None:
    loss = objective()
    vit = loss.net.backbone
    assert isinstance(vit, Vit)
    kept = patch_projection(vit).get_parameter("weight").clone()
    moved = loss.net.backbone.get_parameter("blocks.0.attn.qkv.weight").clone()
    own = [p for p in loss.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=0.1, weight_decay=0.1)
    loss(batch())["loss"].backward()
    optimizer.step()
    assert patch_projection(vit).get_parameter("weight").equal(kept)
    assert not loss.net.backbone.get_parameter("blocks.0.attn.qkv.weight").equal(moved)
    assert all(p.grad is None for p in loss.net.mean_backbone.parameters())


def test_the_order_of_the_batch_and_of_the_views_does_not_matter() -> None:
    loss = objective().eval()
    views, groups = batch()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    whole = loss(SurfaceBatch(views, groups))["loss"]
    torch.testing.assert_close(loss(SurfaceBatch(views[:, order], groups))["loss"], whole)
    torch.testing.assert_close(loss(SurfaceBatch(views.flip(0), groups))["loss"], whole)


def test_one_group_alone_has_nothing_to_push_away() -> None:
    loss = objective(spare=True).eval()
    views, _ = batch()
    alike = SurfaceBatch(views, torch.zeros(6, dtype=torch.int64))
    assert float(loss(alike)["loss"].detach()) == pytest.approx(0, abs=1e-6)


def test_query_key_and_value_are_drawn_as_matrices_of_their_own() -> None:
    net = Vit(TINY)
    draw_blocks(net, generator=torch.Generator().manual_seed(0))
    weight = net.get_parameter("blocks.0.attn.qkv.weight").detach()
    bound = math.sqrt(6 / 32)
    assert bound * 0.9 < float(weight.abs().max()) <= bound


def test_a_momentum_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 0\.2 and 1\.5"):
        MocoSettings(momentum=1.5)


def test_processes_together_have_the_loss_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(3))
    whole = contrast(q, k, temperature=0.2)
    parts = []
    for rank in range(2):
        where = "medvit.learn.pretraining.moco.rank_and_world"
        monkeypatch.setattr(where, lambda rank=rank: (rank, 2))
        parts.append(contrast(q[3 * rank : 3 * rank + 3], k, temperature=0.2))
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
