"""Mirrored views of a tile: turned back and averaged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medvit.inference.flips import MirroredViews
from medvit.models.heads.centre import CentreMaps


class Pointer(nn.Module):
    """A detector whose offsets point along rising axes, whatever it sees; it counts its looks."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def forward(self, x: Tensor) -> CentreMaps:
        self.looks += 1
        along = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1, 1)
        return CentreMaps(x, 2 * x, along.expand(len(x), 3, *x.shape[2:]))


@pytest.mark.parametrize(("views", "left"), [(1, [1, 2, 4]), (2, [1, 2, 0]), (4, [1, 0, 0])])
def test_maps_are_turned_back_and_what_a_view_made_up_cancels(views: int, left: list[int]) -> None:
    model = Pointer().eval()
    x = torch.rand(2, 1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    maps = MirroredViews(model, views=views)(x)
    assert model.looks == views
    torch.testing.assert_close(maps.heat, x)
    torch.testing.assert_close(maps.log_diameter, 2 * x)
    assert maps.offset[1, :, 3, 2, 1].tolist() == left


def test_a_detector_that_looks_left_is_averaged_with_its_mirror_image() -> None:
    class Neighbour(Pointer):
        def forward(self, x: Tensor) -> CentreMaps:
            return super().forward(x.roll(1, dims=4))

    x = torch.zeros(1, 1, 1, 1, 5)
    x[..., 2] = 8
    maps = MirroredViews(Neighbour().eval(), views=2)(x)
    assert maps.heat.flatten().tolist() == [0, 4, 0, 4, 0]


def test_other_numbers_of_views_are_refused() -> None:
    with pytest.raises(ValueError, match="1, 2, 4, 8 mirrored views, got 3"):
        MirroredViews(Pointer(), views=3)


def test_views_are_in_the_mode_of_the_model() -> None:
    assert not MirroredViews(Pointer().eval(), views=8).training
    assert MirroredViews(Pointer(), views=8).stride == 1
