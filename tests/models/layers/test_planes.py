"""Parts of image backbones: gates, adapters, prompts."""

from __future__ import annotations

import pytest
import torch

from medvit.models.cnn import Cnn
from medvit.models.layers.adapter import Adapted, Adapter, insert_adapters
from medvit.models.layers.gated_fusion import GatedFusion
from medvit.models.layers.prompts import insert_prompts
from medvit.models.layers.se import ChannelGate
from medvit.models.swin2d import Swin2d
from medvit.models.vit import Vit, VitSettings

TINY = VitSettings(embed_dim=16, depth=2, num_heads=2, stem_channels=(4, 8), registers=1)


def test_a_gate_of_one_returns_the_first_branch_and_it_starts_near_half() -> None:
    fusion = GatedFusion(4)
    first, second = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    torch.nn.init.normal_(fusion.gate.weight, std=0.02)
    fusion(first, second)
    assert float(fusion.mean_gate) == pytest.approx(0.5, abs=0.1)
    torch.nn.init.zeros_(fusion.gate.weight)
    torch.nn.init.constant_(fusion.gate.bias, 100.0)
    assert torch.equal(fusion(first, second), fusion.first_norm(first))
    assert float(fusion.mean_gate) == 1.0
    with pytest.raises(ValueError, match="one grid"):
        fusion(first, second[:, :, :2])


def test_a_channel_gate_equals_a_loop() -> None:
    torch.manual_seed(0)
    gate, x = ChannelGate(3), torch.randn(2, 3, 4, 5)
    for n in range(2):
        means = torch.tensor([float(x[n, c].mean()) for c in range(3)])
        shares = torch.sigmoid(gate.excite(torch.relu(gate.squeeze(means))))
        for c in range(3):
            torch.testing.assert_close(gate(x)[n, c], x[n, c] * shares[c])


def test_an_adapter_equals_its_formula_and_begins_as_nothing() -> None:
    torch.manual_seed(0)
    adapter, x = Adapter(4, 2, axis=1), torch.randn(2, 4, 3, 3)
    assert torch.equal(adapter(x), x)
    torch.nn.init.normal_(adapter.up.weight)
    one = x[0, :, 1, 2]
    expected = one + adapter.up(torch.nn.functional.gelu(adapter.down(adapter.norm(one))))
    torch.testing.assert_close(adapter(x)[0, :, 1, 2], expected)


@pytest.mark.parametrize(
    ("net", "count"),
    [(Vit(TINY), 2), (Cnn((4, 8)), 4), (Swin2d(8, (2, 2), (2, 4), 4), 4)],
    ids=["vit", "cnn", "swin"],
)
def test_adapters_stand_behind_every_block_and_change_nothing_at_first(
    net: torch.nn.Module, count: int
) -> None:
    x = torch.rand(2, 1, 48, 40)
    before = net.eval()(x)
    assert insert_adapters(net, width=3) == count  # type: ignore[arg-type]
    assert torch.equal(net(x), before)
    assert sum(isinstance(module, Adapted) for module in net.modules()) == count
    with pytest.raises(ValueError, match="adapters already"):
        insert_adapters(net, width=3)  # type: ignore[arg-type]


def test_prompts_change_the_grid_but_not_its_shape() -> None:
    net = Vit(TINY).eval()
    x = torch.rand(2, 1, 32, 24)
    plain = net(x)
    for deep, blocks in ((False, 1), (True, 2)):
        net.prompts = None
        insert_prompts(net, count=3, deep=deep)
        assert net.get_parameter("prompts.tokens").shape == (blocks, 3, 16)
        assert net(x).shape == plain.shape
        assert not torch.allclose(net(x), plain)


def test_deep_prompts_replace_what_the_last_block_made_of_them() -> None:
    net = Vit(TINY)
    insert_prompts(net, count=2, deep=True)
    assert net.prompts is not None
    tokens = torch.randn(1, 7, 16)
    entered = net.prompts(tokens, block=1)
    assert torch.equal(entered[:, 2:], tokens[:, 2:])
    assert torch.equal(entered[0, :2], net.prompts.tokens[1])


def test_prompts_are_refused_where_there_is_no_place_for_them() -> None:
    with pytest.raises(ValueError, match="plain Transformer of medvit, got Cnn"):
        insert_prompts(Cnn((4, 8)), count=2, deep=False)
    net = Vit(TINY)
    with pytest.raises(ValueError, match="at least 1 prompt and 1 block, got 0 and 1"):
        insert_prompts(net, count=0, deep=False)
    insert_prompts(net, count=1, deep=False)
    with pytest.raises(ValueError, match="already"):
        insert_prompts(net, count=1, deep=False)
