"""Options of a 3D Swin: residual entries, factorised windows, global tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from medvit.models.builders import build_backbone, nodule_detector
from medvit.models.layers.global_tokens import GlobalTokens
from medvit.models.layers.residual_stage import ResidualEntry
from medvit.models.layers.variant import Variant
from medvit.models.swin3d import Swin3d


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def small(variant: Variant) -> Swin3d:
    torch.manual_seed(0)
    return Swin3d(embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=4, variant=variant)


VARIANTS = [
    Variant(entry="channel"),
    Variant(entry="instance"),
    Variant(windows="factorised"),
    Variant(global_tokens=True),
    Variant(windows="factorised", entry="channel", global_tokens=True),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_each_variant_has_the_maps_of_the_plain_net(variant: Variant) -> None:
    net = small(variant)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    maps = net(noise(2, 1, 16, 24, 20))
    assert [tuple(part.shape[2:]) for part in maps] == [(8, 12, 10), (4, 6, 5), (2, 3, 3)]
    sum(part.pow(3).mean() for part in maps).backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
    again = small(variant).eval()
    again.load_state_dict(net.state_dict())
    with torch.inference_mode():
        for one, two in zip(
            net.eval()(noise(1, 1, 16, 16, 16)), again(noise(1, 1, 16, 16, 16)), strict=True
        ):
            assert torch.equal(one, two)


def test_closed_gates_give_the_plain_net() -> None:
    plain, wide = small(Variant()).eval(), small(Variant(global_tokens=True)).eval()
    missing = wide.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing
    assert all(".contexts." in name for name in missing)
    x = noise(1, 1, 16, 16, 16)
    with torch.inference_mode():
        for one, two in zip(plain(x), wide(x), strict=True):
            torch.testing.assert_close(one, two)


def test_an_open_gate_carries_what_lies_far_off() -> None:
    net = small(Variant(global_tokens=True)).eval()
    x = noise(1, 1, 16, 16, 160)
    changed = x.clone()
    changed[..., :16] += 1
    with torch.inference_mode():
        assert torch.equal(net(x)[1][..., -1], net(changed)[1][..., -1])
        for context in net.stages[0].contexts:  # type: ignore[union-attr]
            context.gate.fill_(1.0)
        assert not torch.equal(net(x)[1][..., -1], net(changed)[1][..., -1])


def test_global_tokens_are_attention_among_the_means_of_windows() -> None:
    torch.manual_seed(0)
    layer = GlobalTokens(4, 2, 2).eval()
    nn.init.ones_(layer.gate)
    tokens, grid = noise(1, 18, 4), (2, 3, 3)
    maps = layer.norm(tokens).view(2, 3, 3, 4)
    means = torch.stack(
        [maps[:, y : y + 2, x : x + 2].mean(dim=(0, 1, 2)) for y in (0, 2) for x in (0, 2)]
    )
    placed = means.T.view(1, 4, 1, 2, 2)
    pooled = (placed + layer.position(placed)).flatten(2)[0].T  # (g, c)
    q, k, v = layer.qkv(pooled).view(4, 3, 2, 2).permute(1, 2, 0, 3)
    weight = (q @ k.mT / 2**0.5).softmax(dim=-1)
    far = layer.proj((weight @ v).transpose(0, 1).reshape(4, 4))
    expected = tokens.view(2, 3, 3, 4).clone()
    for window, (y, x) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        expected[:, y : y + 2, x : x + 2] += far[window]
    torch.testing.assert_close(layer(tokens, grid), expected.view(1, 18, 4))


def test_planes_do_not_see_each_other_and_columns_do() -> None:
    torch.manual_seed(0)
    net = Swin3d(
        embed_dim=8, depths=(1,), num_heads=(1,), window_size=4, variant=Variant("factorised")
    ).eval()
    twice = Swin3d(
        embed_dim=8, depths=(2,), num_heads=(1,), window_size=4, variant=Variant("factorised")
    ).eval()
    x = noise(1, 1, 16, 16, 16)
    changed = x.clone()
    changed[:, :, :4] += 1  # the first two planes of tokens, one plane of the merged map
    with torch.inference_mode():
        assert torch.equal(net(x)[1][:, :, 1:], net(changed)[1][:, :, 1:])
        assert not torch.equal(twice(x)[1][:, :, 1:], twice(changed)[1][:, :, 1:])


def monai_v2(**arguments: Any) -> SwinTransformer:
    torch.manual_seed(3)
    return SwinTransformer(
        1, 12, (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (1, 2, 4, 8), use_v2=True, **arguments
    ).eval()


def test_weights_of_swin_unetr_v2_load_whole_and_give_its_numbers() -> None:
    theirs = monai_v2()
    variant = Variant(entry="instance")
    ours = Swin3d(embed_dim=12, num_heads=(1, 2, 4, 8), variant=variant).eval()
    report = ours.load_monai(theirs.state_dict(), merging="1.5")
    assert (report.matched, report.total, report.dropped) == (134, 134, ())
    x = noise(1, 1, 32, 32, 32)
    with torch.inference_mode():
        for expected, found in zip(theirs(x), ours(x), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_weights_of_v2_are_refused_by_the_plain_net() -> None:
    plain = Swin3d(embed_dim=12, num_heads=(1, 2, 4, 8))
    with pytest.raises(ValueError, match="is part of an encoder that this network is not"):
        plain.load_monai(monai_v2().state_dict(), merging="1.5")


def test_an_entry_by_channel_sees_its_neighbours_only() -> None:
    torch.manual_seed(0)
    entry = ResidualEntry(4, "channel")
    x = noise(1, 9, 9, 9, 4)
    changed = x.clone()
    changed[0, 0, 0, 0] += 1
    same = entry(x) == entry(changed)
    assert same[:, 3:].all()
    assert not same[0, 2, 2, 2].all()


@pytest.mark.parametrize("name", ["swin3d_tiny_factorised", "swin3d_tiny_residual"])
def test_local_variants_can_detect(name: str) -> None:
    assert nodule_detector(backbone=name, width=8).stride == 2


def test_global_variants_cannot() -> None:
    assert build_backbone("swin3d_tiny_global")
    with pytest.raises(ValueError, match=r"stages\.0\.contexts\.0 \(GlobalTokens\)"):
        nodule_detector(backbone="swin3d_tiny_global", width=8)
