"""The small ViT: shapes, positions, skipped branches, starting weights."""

from __future__ import annotations

import pytest
import torch

from medvit.models.builders import build_backbone
from medvit.models.layers.drop_path import DropPath
from medvit.models.vit import PositionConv, Vit, VitSettings, draw_weights, vit_tiny_stem

TINY = VitSettings(embed_dim=16, depth=2, num_heads=2, stem_channels=(4, 8))


def drawn(settings: VitSettings = TINY) -> Vit:
    net = Vit(settings)
    draw_weights(net, generator=torch.Generator().manual_seed(0))
    return net


@pytest.mark.parametrize(("height", "width", "grid"), [(32, 48, (4, 6)), (33, 32, (5, 4))])
def test_the_grid_has_one_token_for_8_pixels_rounded_up(
    height: int, width: int, grid: tuple[int, int]
) -> None:
    assert drawn()(torch.rand(2, 1, height, width)).shape == (2, 16, *grid)


def test_the_default_net_keeps_within_its_budget() -> None:
    assert sum(p.numel() for p in vit_tiny_stem().parameters()) == 1_233_056


def test_permuting_a_batch_permutes_the_output() -> None:
    net = drawn().eval()
    x = torch.rand(4, 1, 32, 32)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(x[order]), net(x)[order])


def test_a_brighter_image_gives_the_same_tokens() -> None:
    net = drawn().eval()
    x = torch.rand(1, 1, 32, 32) * 0.5
    torch.testing.assert_close(net(x + 0.3), net(x), atol=1e-4, rtol=1e-4)


def test_every_parameter_gets_a_gradient() -> None:
    net = drawn()
    net(torch.rand(2, 1, 32, 32)).square().mul(torch.rand(16, 1, 1)).sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None]


def test_evaluation_is_deterministic_and_training_skips_branches() -> None:
    net = drawn(VitSettings(embed_dim=16, depth=2, num_heads=2, drop_path=0.9))
    x = torch.rand(8, 1, 32, 32)
    torch.manual_seed(0)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_a_state_dict_round_trip_gives_the_same_output() -> None:
    net, other = drawn().eval(), Vit(TINY).eval()
    other.load_state_dict(net.state_dict())
    x = torch.rand(1, 1, 32, 32)
    assert torch.equal(net(x), other(x))


def test_the_same_generator_draws_the_same_weights() -> None:
    for one, two in zip(drawn().parameters(), drawn().parameters(), strict=True):
        assert torch.equal(one, two)


def test_positions_are_a_depthwise_convolution_by_hand() -> None:
    position = PositionConv(1)
    torch.nn.init.ones_(position.conv.weight)
    torch.nn.init.zeros_(position.conv.bias)  # type: ignore[arg-type]
    tokens = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1)  # a 2x2 grid: every sum is 10
    torch.testing.assert_close(position(tokens, grid=(2, 2)).flatten(), tokens.flatten() + 10)


def test_the_mean_over_draws_of_a_dropped_path_is_the_branch() -> None:
    torch.manual_seed(0)
    kept = DropPath(0.25).train()(torch.ones(20_000, 1))
    standard_error = (0.25 / 0.75 / 20_000) ** 0.5
    assert abs(float(kept.mean()) - 1.0) < 3 * standard_error


def test_a_path_dropped_for_certain_is_zero_not_nan() -> None:
    assert torch.equal(DropPath(1.0).train()(torch.ones(3, 2)), torch.zeros(3, 2))


def test_a_width_that_heads_do_not_divide_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="10 by 4"):
        VitSettings(embed_dim=10, num_heads=4)


def test_a_depth_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="depth must be at least 1"):
        VitSettings(depth=0)


def test_configs_build_it_by_name() -> None:
    assert isinstance(build_backbone("vit_tiny_stem"), Vit)
