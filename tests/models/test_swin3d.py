from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from medvit.models.layers.swin_block import SwinBlock
from medvit.models.layers.windows import cut_grid
from medvit.models.monai_weights import our_name
from medvit.models.swin3d import MERGING_ORDERS, Merging, PatchMerging, Swin3d

DOWNSAMPLE = {"1.5": "merging", "v2": "mergingv2"}


def small(window: int = 7) -> Swin3d:
    return Swin3d(embed_dim=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=window)


def monai_encoder(window: int = 7, downsample: str = "merging", seed: int = 3) -> SwinTransformer:
    """Return MONAI's encoder with weights that are far from their tame start."""
    torch.manual_seed(seed)
    net = SwinTransformer(
        1,
        12,
        (window,) * 3,
        (2, 2, 2),
        (2, 2, 2, 2),
        (1, 2, 4, 8),
        downsample=downsample,
    ).eval()
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.1)
        else:
            nn.init.uniform_(parameter, 0.3, 1.2)
    return net


def noise(*shape: int) -> Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(1))


def assert_same_maps(window: int, size: tuple[int, int, int], merging: Merging = "1.5") -> None:
    theirs = monai_encoder(window, DOWNSAMPLE[merging])
    ours = small(window).eval()
    report = ours.load_monai(theirs.state_dict(), merging=merging)
    with torch.inference_mode():
        expected, found = theirs(noise(*size)), ours(noise(*size))
    assert (report.matched, report.total, report.dropped) == (126, 126, ())
    assert len(found) == 5
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("window", "size"),
    [
        (7, (32, 32, 32)),
        (7, (64, 32, 32)),  # 32 tokens are padded to 35: a shifted piece lies in the padding
        (7, (40, 24, 36)),
        (7, (33, 20, 28)),
        (6, (24, 48, 40)),
        (8, (32, 40, 56)),
        (4, (36, 24, 44)),
    ],
)
def test_same_weights_give_the_numbers_of_monai(window: int, size: tuple[int, int, int]) -> None:
    assert_same_maps(window, size)


@pytest.mark.slow
@pytest.mark.parametrize("window", [4, 6, 7, 8])
@pytest.mark.parametrize("side", range(24, 136, 8))
def test_every_size_gives_the_numbers_of_monai(window: int, side: int) -> None:
    assert_same_maps(window, (side, side, side))
    assert_same_maps(window, (side, 24, 48))


def test_the_other_merging_of_monai_gives_its_numbers() -> None:
    assert_same_maps(7, (40, 24, 32), merging="v2")


def gradients(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    sum((out**3).mean() for out in net(x)).backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("size", [(32, 32, 32), (48, 24, 40)])
def test_every_gradient_is_that_of_monai(size: tuple[int, int, int]) -> None:
    theirs, ours = monai_encoder(), small()
    ours.load_monai(theirs.state_dict(), merging="1.5")
    x, y = noise(*size).requires_grad_(), noise(*size).requires_grad_()
    expected, found = gradients(theirs, x), gradients(ours, y)
    assert len(expected) == len(found) == 118
    for name, grad in expected.items():
        torch.testing.assert_close(found[our_name(name)], grad, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(y.grad, x.grad, atol=1e-4, rtol=1e-3)


def test_a_volume_gives_the_same_bits_in_any_batch_and_with_any_threads() -> None:
    # Not so for a lone head or widths that 16 does not divide: MKL then shares out single rows.
    net = Swin3d(embed_dim=32, depths=(2, 2), num_heads=(2, 4)).eval()
    x = torch.cat([noise(20, 16, 18), noise(20, 16, 18) * 3])
    threads = torch.get_num_threads()
    try:
        with torch.inference_mode():
            together = net(x)
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                for a, b in zip(together, net(x[1:2]), strict=True):
                    assert torch.equal(a[1:2], b)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("whole", [True, False])
def test_bf16_is_near_fp32(*, whole: bool) -> None:
    net, x = small().eval(), noise(32, 40, 32)
    with torch.inference_mode():
        exact = net(x)
        if whole:
            found = net.to(torch.bfloat16)(x.to(torch.bfloat16))
        else:
            with torch.autocast("cpu", torch.bfloat16):
                found = net(x)
    for a, b in zip(exact, found, strict=True):
        assert ((a - b.float()).norm() / a.norm()).item() < 0.02


def test_gradients_under_autocast_are_near_those_of_fp32() -> None:
    exact = gradients(small_and_seeded(), noise(32, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(small_and_seeded(), noise(32, 32, 32))
    table = found["stages.0.blocks.1.attn.bias_table"]
    expected = exact["stages.0.blocks.1.attn.bias_table"]
    assert table.dtype == torch.float32
    assert ((table - expected).norm() / expected.norm()).item() < 0.1


def small_and_seeded() -> Swin3d:
    torch.manual_seed(5)
    return small()


def test_a_kept_bias_follows_the_table() -> None:
    net, x = small().eval(), noise(32, 32, 32)
    with torch.inference_mode():
        before = net(x)
    with torch.no_grad():
        net.get_parameter("stages.0.blocks.1.attn.bias_table").add_(torch.randn(2197, 1))
    with torch.inference_mode():
        after = net(x)
    recorded = net(x)  # with gradients nothing is kept
    assert (before[1] - after[1]).abs().max() > 1e-3
    torch.testing.assert_close(after[4], recorded[4], atol=1e-5, rtol=0)


def test_masked_padding_does_not_see_the_qkv_bias() -> None:
    net = small().eval()
    x = noise(20, 20, 20)  # 10 tokens: padded to 14
    with torch.inference_mode():
        before = net(x)[1]
        for name, parameter in net.named_parameters():
            if name.startswith("stages.0") and name.endswith("attn.qkv.bias"):
                parameter[12:24] += torch.randn(12)  # a key's bias shifts all real scores alike
        after = net(x)[1]
        net.padding = "monai"
        padded = net(x)[1]
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)
    assert (padded - after).abs().max() > 1e-4


def test_dropped_paths_leave_the_tokens_alone() -> None:
    torch.manual_seed(0)
    block = SwinBlock(16, 1, 4, drop_path=1.0).train()
    kinds = cut_grid(
        (8, 8, 8), (4, 4, 4), (2, 2, 2), table_side=4, exact=True, device=torch.device("cpu")
    )
    x = torch.randn(2, 512, 16, requires_grad=True)
    out = block(x, kinds, "masked")
    torch.testing.assert_close(out, x)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones_like(x))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 2, 32, 32, 32), r"\(b, 1, z, y, x\), got \(1, 2, 32, 32, 32\)"),
        ((32, 32, 32), r"\(b, 1, z, y, x\), got \(32, 32, 32\)"),
        ((1, 1, 32, 15, 32), r"at least 16 voxels .* 4 stages, got \(32, 15, 32\)"),
    ],
)
def test_a_volume_of_the_wrong_shape_is_refused(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small()(torch.zeros(shape))


def test_a_window_larger_than_the_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 24 voxels for a window of 12 tokens"):
        small(12)(torch.zeros(1, 1, 32, 32, 16))


def test_a_voxel_that_is_no_number_is_refused() -> None:
    x = noise(32, 32, 32)
    x[0, 0, 1, 2, 3:5] = torch.tensor([torch.nan, torch.inf])
    with pytest.raises(ValueError, match="2 of 32768 are not"):
        small()(x)


@pytest.mark.parametrize("arguments", [{"window_size": 1}, {"patch_size": 0}, {"depths": (2,)}])
def test_settings_that_make_no_network_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"got 1 and 2|got 7 and 0|must name the same stages"):
        Swin3d(**arguments)


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
