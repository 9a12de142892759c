from __future__ import annotations

import pytest
import torch

from medvit.models.builders import build_model, defect_detector
from medvit.models.heads.boxes import BoxDetector, BoxMaps
from medvit.models.layers.pyramid import SimplePyramid, TopDownPyramid


def detector(backbone: str = "cnn_small", *, classes: int = 3, width: int = 16) -> BoxDetector:
    torch.manual_seed(0)
    return defect_detector(backbone=backbone, classes=classes, width=width).eval()


@pytest.mark.parametrize(
    "backbone", ["cnn_small", "vit_tiny_stem", "vit_tiny", "swin2d_micro", "hybrid_small"]
)
def test_every_backbone_speaks_of_every_cell_of_every_level(backbone: str) -> None:
    with torch.no_grad():
        maps = detector(backbone)(torch.rand(2, 1, 64, 96))
    cells = [8 * 12, 4 * 6, 2 * 3]  # at strides 8, 16 and 32
    assert maps.labels.shape == (2, sum(cells), 3)
    assert maps.boxes().shape == (2, sum(cells), 4)
    assert maps.strides.unique_consecutive(return_counts=True)[1].tolist() == cells
    assert maps.points[[0, 1, 12, 96]].tolist() == [[4, 4], [12, 4], [4, 12], [8, 8]]
    assert (maps.reaches > 0).all()


def test_a_plain_transformer_gets_a_simple_pyramid_and_a_cnn_one_from_the_top() -> None:
    assert isinstance(detector("vit_tiny_stem").pyramid, SimplePyramid)
    assert isinstance(detector("cnn_small").pyramid, TopDownPyramid)


def test_an_odd_size_gives_rounded_up_grids() -> None:
    with torch.no_grad():
        maps = detector()(torch.rand(1, 1, 41, 70))
    assert maps.strides.unique_consecutive(return_counts=True)[1].tolist() == [54, 15, 6]


def test_an_image_is_judged_alike_in_any_batch() -> None:
    net, images = detector(), torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        together, alone = net(images), net(images[1:2])
    torch.testing.assert_close(together.labels[1:2], alone.labels, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.reaches[1:2], alone.reaches, atol=1e-3, rtol=1e-4)


def test_an_untrained_detector_expects_nothing_and_boxes_of_a_few_cells() -> None:
    with torch.no_grad():
        maps = detector()(torch.rand(1, 1, 64, 64))
    assert 0.005 < float(maps.labels.sigmoid().mean()) < 0.02
    in_cells = maps.reaches / maps.strides[None, :, None]
    assert 3 < float(in_cells.mean()) < 5


def test_the_score_is_the_geometric_mean_of_class_and_centre() -> None:
    def logit(share: float) -> torch.Tensor:
        return torch.tensor(share).logit()

    maps = BoxMaps(
        labels=logit(0.9).view(1, 1, 1),
        reaches=torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]),
        centre=logit(0.4).view(1, 1),
        points=torch.tensor([[10.0, 20.0]]),
        strides=torch.tensor([8.0]),
    )
    assert float(maps.scores()) == pytest.approx(0.6)  # sqrt(0.9 * 0.4)
    assert maps.boxes().tolist() == [[[9.0, 18.0, 13.0, 24.0]]]


def test_a_card_builds_it_again() -> None:
    arguments = {"backbone": "cnn_small", "classes": 2, "width": 16, "strides_px": [4, 8]}
    net = build_model("defect_detector", **arguments)
    assert isinstance(net, BoxDetector)
    assert net.strides_px == (4, 8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": 0}, r"got 0 and \(8, 16, 32\)"),
        ({"strides_px": (8, 24)}, r"strides that double, got 3 and \(8, 24\)"),
        ({"strides_px": (2, 4)}, r"differ by powers of two|cannot be made of maps"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changes: dict[str, object], words: str) -> None:
    arguments = {"backbone": "swin2d_micro", "classes": 3, "strides_px": (8, 16, 32), **changes}
    if changes.get("strides_px") == (2, 4):
        pyramid = defect_detector(**arguments).pyramid  # type: ignore[arg-type]
        assert isinstance(pyramid, SimplePyramid)  # finer than the backbone: from its last map
        return
    with pytest.raises(ValueError, match=words):
        defect_detector(**arguments)  # type: ignore[arg-type]


def test_a_top_down_pyramid_needs_maps_at_its_strides() -> None:
    with pytest.raises(ValueError, match=r"strides \(8, 16\) cannot be made of maps at \(4, 16\)"):
        TopDownPyramid((8, 16), (4, 16), width=8, strides_px=(8, 16))
