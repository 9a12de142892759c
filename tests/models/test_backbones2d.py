"""What holds for every backbone of images, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.errors import ConfigError, ModelError
from medvit.models.backbone import Backbone2d
from medvit.models.builders import build_model, image_backbone
from medvit.models.cnn import Cnn
from medvit.models.efficientnet import EfficientNetLite, Level
from medvit.models.hybrid import Hybrid, HybridSettings
from medvit.models.swin2d import PlaneMerging, PlaneStage, Swin2d
from medvit.models.vit import Vit, VitSettings, draw_weights

WIDE = {"embed_dim": 16, "depth": 2, "num_heads": 2}


def tiny_vit(in_channels: int) -> Vit:
    stem = VitSettings(
        **WIDE, stem_channels=(4, 6, 8), patch_px=16, registers=2, in_channels=in_channels
    )
    return Vit(stem)


def flat_vit(in_channels: int) -> Vit:
    return Vit(VitSettings(**WIDE, stem_channels=(), patch_px=16, in_channels=in_channels))


def tiny_swin(in_channels: int) -> Swin2d:
    return Swin2d(8, (2, 2), (2, 4), 4, in_channels=in_channels)


def tiny_hybrid(in_channels: int) -> Hybrid:
    return Hybrid(HybridSettings((4, 8, 16), (1, 2), num_heads=2, in_channels=in_channels))


def tiny_cnn(in_channels: int) -> Cnn:
    return Cnn((4, 8), in_channels=in_channels)


def tiny_lite(in_channels: int) -> EfficientNetLite:
    plan = (Level(1, 4, 1, 1, 3), Level(2, 6, 2, 2, 3), Level(2, 8, 1, 2, 5), Level(2, 8, 2, 1, 3))
    return EfficientNetLite(plan, in_channels=in_channels)


TINY: list[Callable[[int], Backbone2d]] = [
    tiny_vit,
    flat_vit,
    tiny_swin,
    tiny_hybrid,
    tiny_cnn,
    tiny_lite,
]


@pytest.fixture(params=TINY, ids=lambda make: make.__name__)
def net(request: pytest.FixtureRequest) -> Backbone2d:
    built: Backbone2d = request.param(1)
    draw_weights(built, generator=torch.Generator().manual_seed(0))
    return built


@pytest.mark.parametrize("sides", [(64, 96), (50, 33)])
def test_maps_have_the_widths_and_strides_they_say_at_any_size(
    net: Backbone2d, sides: tuple[int, int]
) -> None:
    maps = net.eval().maps(torch.rand(2, 1, *sides))
    expected = [
        (2, width, -(-sides[0] // stride), -(-sides[1] // stride))
        for width, stride in zip(net.widths, net.strides_px, strict=True)
    ]
    assert [tuple(each.shape) for each in maps] == expected


def test_permuting_a_batch_permutes_the_output(net: Backbone2d) -> None:
    net.eval()
    x, order = torch.rand(3, 1, 48, 48), torch.tensor([2, 0, 1])
    torch.testing.assert_close(net(x[order]), net(x)[order], atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient_and_evaluation_is_deterministic(net: Backbone2d) -> None:
    x = torch.rand(4, 1, 64, 64)
    net.eval()(x).mul(torch.rand(net.out_channels, 1, 1)).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None]
    assert torch.equal(net(x), net(x))


def test_brightness_does_not_matter_and_weights_are_drawn_by_the_generator(
    net: Backbone2d,
) -> None:
    x = torch.rand(1, 1, 48, 48) * 0.5
    net.eval()
    torch.testing.assert_close(net(x + 0.3), net(x), atol=2e-4, rtol=1e-3)
    before = [p.clone() for p in net.parameters()]
    draw_weights(net, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))


def test_folded_norms_leave_the_maps_and_what_speaks_for_them(net: Backbone2d) -> None:
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):  # as after a training
            for values in part.state_dict().values():
                if values.ndim:
                    values.uniform_(0.5, 1.5)
    x = torch.rand(2, 1, 50, 33, dtype=torch.float64)
    grid = net.double().eval().evidence_grid(net.embed(x)).detach().requires_grad_()

    def answers() -> list[Tensor]:
        maps = net.stages_of_grid(grid)
        return [*net.maps(x), *maps, *torch.autograd.grad(maps[-1].square().sum(), grid)]

    before = answers()
    net.fold_norms()
    assert not (isinstance(net, Cnn) and any(isinstance(p, nn.BatchNorm2d) for p in net.modules()))
    for old, new in zip(before, answers(), strict=True):
        torch.testing.assert_close(new, old)
    net.fold_norms()  # nothing is left to fold
    torch.testing.assert_close(net.maps(x)[-1], before[len(net.widths) - 1])


@pytest.mark.parametrize("make", TINY, ids=lambda make: make.__name__)
def test_colour_is_seen(make: Callable[[int], Backbone2d]) -> None:
    net = make(3).eval()
    draw_weights(net, generator=torch.Generator().manual_seed(0))
    x = torch.rand(1, 3, 48, 48)
    assert not torch.allclose(net(x), net(x.flip(1)))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vit_tiny", 5_413_416),
        ("vit_small", 21_584_208),
        ("cnn_small", 2_795_744),
        ("hybrid_small", 2_886_348),
        ("swin2d_micro", 2_165_730 - 2 * (48 + 96 + 192)),
    ],
)
def test_the_named_nets_keep_their_size(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in image_backbone(name).parameters()) == parameters


def test_a_name_alone_switches_the_backbone_of_a_classifier() -> None:
    for name in ("cnn_small", "hybrid_small", "swin2d_micro", "vit_tiny_stem"):
        net = build_model("defect_classifier", backbone=name, classes=3, in_channels=3).eval()
        assert net(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_names_that_are_no_image_backbones_are_refused() -> None:
    with pytest.raises(ConfigError, match="2D backbone, got 'swin3d_tiny'"):
        image_backbone("swin3d_tiny")
    with pytest.raises(ConfigError, match="unknown network 'vit_huge'"):
        image_backbone("vit_huge")


def test_timm_is_named_with_its_extra_where_it_is_missing() -> None:
    try:
        import timm  # noqa: F401
    except ImportError:
        with pytest.raises(ModelError, match="timm:resnet10t needs timm") as caught:
            image_backbone("timm:resnet10t")
        assert "medvit[timm]" in caught.value.hint
    else:
        assert image_backbone("timm:resnet10t").strides_px == (32,)


def test_a_stem_that_does_not_make_the_patches_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="patches of 8 px, but patch_px is 16"):
        VitSettings(stem_channels=(4, 8), patch_px=16)


def test_registers_are_seen_by_patches_but_left_out_of_the_grid() -> None:
    net = tiny_vit(1).eval()
    x = torch.rand(1, 1, 32, 32)
    before = net(x)
    assert before.shape == (1, 16, 2, 2)
    assert net.registers is not None
    torch.nn.init.normal_(net.registers, std=3.0)
    assert not torch.allclose(net(x), before)


def test_merging_of_the_plane_by_hand() -> None:
    merging = PlaneMerging(1)
    torch.nn.init.ones_(merging.reduction.weight)
    x = torch.tensor([[1.0, 2.0, 9.0], [3.0, 4.0, 9.0]]).view(1, 2, 3, 1)  # odd: a column of zeros
    joined = torch.tensor([[1.0, 2.0, 3.0, 4.0], [9.0, 0.0, 9.0, 0.0]])
    expected = F.layer_norm(joined, (4,)).sum(1)
    torch.testing.assert_close(merging(x)[0, 0, :, 0], expected, atol=1e-5, rtol=1e-5)


def reference_stage(stage: PlaneStage, x: torch.Tensor, *, window: int) -> torch.Tensor:
    """Return a plain stage of one image (h, w, c): explicit masks instead of cut windows."""
    h, w, c = x.shape
    tokens = x.reshape(h * w, c)
    rows, columns = (
        t.flatten() for t in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    )
    span = 2 * window - 1
    blocks: list[Any] = list(stage.blocks)
    for number, block in enumerate(blocks):
        shift = number % 2 * (window // 2)

        def room(at: torch.Tensor, shift: int = shift) -> torch.Tensor:
            return (at + window - shift).div(window, rounding_mode="floor")

        same = (room(rows)[:, None] == room(rows)) & (room(columns)[:, None] == room(columns))
        steps = [(at[:, None] - at + window - 1).clamp(0, span - 1) for at in (rows, columns)]
        bias = block.attn.bias_table[steps[0] * span + steps[1]].permute(2, 0, 1)  # (h, t, t)
        heads = block.attn.num_heads
        q, k, v = block.attn.qkv(block.norm1(tokens)).view(h * w, 3, heads, -1).permute(1, 2, 0, 3)
        scores = q @ k.mT * (c // heads) ** -0.5 + bias
        weight = scores.masked_fill(~same, -torch.inf).softmax(-1)
        tokens = tokens + block.attn.proj((weight @ v).transpose(0, 1).reshape(h * w, c))
        tokens = tokens + block.fc2(F.gelu(block.fc1(block.norm2(tokens))))
    return tokens.view(h, w, c)


@pytest.mark.parametrize("sides", [(8, 8), (9, 6)])
def test_a_stage_equals_masked_attention_over_the_whole_plane(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    stage = PlaneStage(8, 2, 4, rates=[0.0, 0.0], merges=False).eval()
    for block in stage.blocks:
        torch.nn.init.normal_(block.attn.bias_table)  # type: ignore[arg-type, union-attr]
    x = torch.randn(2, *sides, 8)
    expected = torch.stack([reference_stage(stage, image, window=4) for image in x])
    torch.testing.assert_close(stage(x.clone()), expected, atol=1e-5, rtol=1e-4)
