from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from medvit.models.swin3d import MERGING_ORDERS, Merging, PatchMerging, Swin3d


def small() -> Swin3d:
    return Swin3d(embed_dim=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))


def monai_encoder() -> SwinTransformer:
    """Return MONAI's encoder with weights that are far from their tame start."""
    torch.manual_seed(3)
    net = SwinTransformer(1, 12, (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (1, 2, 4, 8)).eval()
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.1)
        else:
            nn.init.uniform_(parameter, 0.3, 1.2)
    return net


@pytest.mark.parametrize("size", [(32, 32, 32), (64, 32, 32), (40, 24, 36), (33, 20, 28)])
def test_same_weights_give_the_numbers_of_monai(size: tuple[int, int, int]) -> None:
    theirs = monai_encoder()
    ours = small().eval()
    report = ours.load_monai(theirs.state_dict(), merging="1.5")
    x = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = theirs(x), ours(x)
    assert (report.matched, report.total, report.dropped) == (126, 126, ())
    assert len(found) == 5
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_gradients_are_those_of_monai() -> None:
    theirs, ours = monai_encoder(), small()
    ours.load_monai(theirs.state_dict(), merging="1.5")
    x = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    for net in (theirs, ours):
        sum((out**3).mean() for out in net(x)).backward()
    table = theirs.get_parameter("layers1.0.blocks.1.attn.relative_position_bias_table").grad
    own_table = ours.get_parameter("stages.0.blocks.1.attn.bias_table").grad
    torch.testing.assert_close(own_table, table, atol=1e-4, rtol=1e-3)
    first = ours.patch_embed.weight.grad
    torch.testing.assert_close(first, theirs.patch_embed.proj.weight.grad, atol=1e-4, rtol=1e-3)


def test_default_encoder_has_the_published_size() -> None:
    assert sum(parameter.numel() for parameter in Swin3d().parameters()) == 8_062_002


def rename(key: str, prefix: str, mlp: str) -> str:
    return prefix + key.replace("mlp.linear", f"mlp.{mlp}")


@pytest.mark.parametrize(
    ("prefix", "mlp"),
    [("", "linear"), ("module.", "fc"), ("swinViT.", "linear"), ("module.swinViT.", "fc")],
)
def test_published_names_load_whole(prefix: str, mlp: str) -> None:
    theirs = {rename(k, prefix, mlp): v for k, v in monai_encoder().state_dict().items()}
    theirs["rotation_head.weight"] = torch.zeros(4, 4)
    report = small().load_monai(theirs, merging="pre1.5")
    assert (report.matched, report.total) == (126, 126)
    assert report.dropped == ("rotation_head.weight",)


def drop_one(state: dict[str, Tensor]) -> None:
    del state["layers2.0.blocks.0.attn.qkv.weight"]


def widen_one(state: dict[str, Tensor]) -> None:
    state["patch_embed.proj.weight"] = torch.zeros(24, 1, 2, 2, 2)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop_one, ["125 of 126", "stages.1.blocks.0.attn.qkv.weight is missing"]),
        (widen_one, ["(24, 1, 2, 2, 2)", "expected (12, 1, 2, 2, 2)"]),
    ],
)
def test_a_partial_match_is_refused(
    spoil: Callable[[dict[str, Tensor]], None], words: list[str]
) -> None:
    state = dict(monai_encoder().state_dict())
    spoil(state)
    with pytest.raises(ValueError, match="weights match") as error:
        small().load_monai(state, merging="1.5")
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("merging", list(MERGING_ORDERS))
def test_merging_concatenates_the_parities_in_its_order(merging: Merging) -> None:
    layer = PatchMerging(1, merging)
    layer.norm = nn.Identity()  # type: ignore[assignment]
    layer.reduction = nn.Identity()  # type: ignore[assignment]
    x = torch.arange(8.0).view(1, 2, 2, 2, 1)  # the value of voxel zyx is its binary number
    expected = [int(order, 2) for order in MERGING_ORDERS[merging]]
    assert layer(x).flatten().tolist() == expected


def test_the_order_of_merging_changes_the_result() -> None:
    state = monai_encoder().state_dict()
    x = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    maps = []
    orders: tuple[Merging, ...] = ("1.5", "pre1.5")
    for merging in orders:
        net = small().eval()
        net.load_monai(state, merging=merging)
        maps.append(net(x)[1])
    assert (maps[0] - maps[1]).abs().max() > 0.1


def test_small_maps_read_the_bias_of_their_own_offsets_unless_told() -> None:
    state = monai_encoder().state_dict()
    x = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    quirky, exact = small().eval(), small().eval()
    for net in (quirky, exact):
        net.load_monai(state, merging="1.5")
    exact.bias_index = "exact"
    with torch.inference_mode():
        first, second = quirky(x), exact(x)
    torch.testing.assert_close(first[2], second[2])  # 16 and 8 tokens a side: full windows
    assert (first[3] - second[3]).abs().max() > 1e-4  # 4 tokens a side: a window of 4


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="width 10 does not divide by 3 heads"):
        Swin3d(embed_dim=10, depths=(2,), num_heads=(3,))
