"""Weights change their place in memory, and nothing else."""

from __future__ import annotations

import torch
from torch import nn

from medvit.models.layers.memory_order import channels_last, rows_last


def test_a_network_of_images_is_reordered_and_put_back() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 4, 3)
    net = nn.Sequential(conv, nn.Flatten(), nn.LazyLinear(3))
    x = torch.rand(2, 2, 6, 5)
    before, weight = net(x), conv.weight
    values, strides = weight.detach().clone(), weight.stride()
    assert channels_last(net) is net
    assert conv.weight is weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.stride() != strides
    torch.testing.assert_close(net(x), before)
    rows_last(net)
    assert weight.stride() == strides
    assert torch.equal(weight, values)


def test_a_network_of_volumes_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv3d(2, 4, 3), nn.Conv2d(2, 4, 3))
    strides = [parameter.stride() for parameter in net.parameters()]
    assert [parameter.stride() for parameter in channels_last(net).parameters()] == strides
