from __future__ import annotations

import pytest
import torch
from monai.networks.nets.segresnet import SegResNet
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medvit.models.backbone import Backbone3d
from medvit.models.builders import build_backbone, segresnet_small, swin3d_tiny
from medvit.models.layers.channel_norm import ChannelNorm
from medvit.models.segresnet import SegResNetEncoder, norm_by_channel


def test_five_maps_have_the_sizes_of_a_swin() -> None:
    net = SegResNetEncoder(width=4, blocks=(1, 1, 1, 1, 1))
    maps = net(torch.rand(2, 1, 64, 32, 32))
    assert [tuple(part.shape) for part in maps] == [
        (2, width, 64 // stride, 32 // stride, 32 // stride)
        for width, stride in zip(net.widths, (2, 4, 8, 16, 32), strict=True)
    ]
    assert net.widths == (4, 8, 16, 32, 64)


def test_every_backbone_of_volumes_is_one_switch() -> None:
    for name in ("swin3d_tiny", "swin3d_base", "segresnet_small"):
        assert isinstance(build_backbone(name), Backbone3d)


def test_it_costs_as_many_operations_as_its_rival() -> None:
    x = torch.zeros(1, 1, 32, 32, 32)
    flops = []
    for net in (segresnet_small(), swin3d_tiny()):
        counter = FlopCounterMode(display=False)  # knows no fused attention on the CPU
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            net.eval()(x)
        flops.append(counter.get_total_flops())
    assert 0.9 < flops[0] / flops[1] < 1.1


def test_with_group_norms_it_is_the_encoder_of_monai() -> None:
    """Undo our two changes: what is left must be MONAI's arithmetic on the same weights."""
    torch.manual_seed(0)
    theirs = SegResNet(init_filters=8, blocks_down=(1, 2, 1), blocks_up=(1, 1)).eval()
    ours = SegResNetEncoder(width=8, blocks=(1, 2, 1)).eval()
    norm_by_channel(theirs)
    theirs.convInit = ours.stem
    theirs.down_layers.load_state_dict(ours.levels.state_dict())
    x = torch.rand(1, 1, 16, 16, 16)
    with torch.inference_mode():
        for expected, found in zip(theirs.encode(x)[1], ours(x), strict=True):
            torch.testing.assert_close(found, expected)


def test_group_norms_are_found_at_any_depth() -> None:
    net = nn.Sequential(nn.GroupNorm(2, 4), nn.Sequential(nn.GroupNorm(1, 6)))
    norm_by_channel(net)
    assert [type(part) for part in net.modules() if isinstance(part, ChannelNorm)] == [
        ChannelNorm,
        ChannelNorm,
    ]
    assert not any(isinstance(part, nn.GroupNorm) for part in net.modules())


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 2, 8, 8, 8), r"expected \(b, 1, z, y, x\)"), ((1, 1, 8, 7, 8), r"divide by 2, got")],
)
def test_unusable_input_is_refused(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SegResNetEncoder(width=4, blocks=(1, 1))(torch.zeros(shape))
