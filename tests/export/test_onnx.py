from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medvit.data.surface_phantom import make_surface
from medvit.errors import ConfigError, GateRefusedError
from medvit.export.onnx import (
    check_parity,
    export_onnx,
    open_session,
    run_session,
)
from medvit.models.cnn import Cnn
from medvit.models.heads.centre import NoduleDetector
from medvit.models.heads.classify import DefectClassifier, VolumeClassifier
from medvit.models.segresnet import SegResNetEncoder
from medvit.models.swin3d import Swin3d
from medvit.models.textured import TexturedBackbone

INSTALLED = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not INSTALLED, reason="the export extra is not installed")


def volumes(*sizes: int, side: int = 16, channels: int = 1) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.rand(size, channels, side, side, side, generator=draw) for size in sizes]


def small_swin(*depths: int, **arguments: Any) -> Swin3d:
    torch.manual_seed(0)
    heads = tuple(2**level for level in range(len(depths)))
    return Swin3d(embed_dim=8, depths=depths, num_heads=heads, window_size=4, **arguments)


def textured_classifier() -> DefectClassifier:
    """Return one with channels that never fire."""
    torch.manual_seed(0)
    backbone = TexturedBackbone(Cnn((8, 16)))
    backbone(torch.rand(16, 1, 32, 32))  # batch norms have seen something
    backbone.eval()
    backbone.learn_scale(backbone.raw(torch.rand(32, 1, 32, 32)))
    for name in ("levels.0.1.norm2", "levels.1.1.norm2"):
        norm = backbone.network.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        norm.bias.data[0] = -1e3
    return DefectClassifier(backbone, classes=3).eval()


@pytest.mark.slow
@needs_onnx
def test_texture_of_flat_images_and_of_steel_is_the_same_to_the_last_pattern(
    tmp_path: Path,
) -> None:
    net = textured_classifier()
    made = [make_surface(np.random.default_rng(n), number=n).pixels for n in range(12)]
    steel = torch.from_numpy(np.stack(made))[:, None] / 255
    flat = torch.full((2, 1, 128, 128), 0.4)
    export_onnx(net, tmp_path / "net.onnx", shape=(1, 128, 128))
    with torch.no_grad():
        assert bool(net(flat).isfinite().all())
    assert check_parity(net, tmp_path / "net.onnx", [flat, steel]).difference < 5e-5


class Affine(nn.Module):
    """A network that is exported in a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + 1


@pytest.mark.slow
@needs_onnx
def test_an_exported_network_gives_the_numbers_of_its_source(tmp_path: Path) -> None:
    net = Affine()
    assert export_onnx(net, tmp_path / "net.onnx", shape=(1, 4, 4, 4)) == ("logits",)
    parity = check_parity(net, tmp_path / "net.onnx", volumes(1, 2, 5, side=4))
    assert (parity.samples, parity.batches) == (8, (1, 2, 5))
    assert parity.difference < 1e-6


@pytest.mark.slow
@needs_onnx
def test_an_export_that_disagrees_is_refused(tmp_path: Path) -> None:
    net = Affine()
    export_onnx(net, tmp_path / "net.onnx", shape=(1, 4, 4, 4))
    with torch.no_grad():
        net.weight.add_(0.01)
    with pytest.raises(
        GateRefusedError, match=r"net\.onnx: output logits differs by [89]\.\d+e-03"
    ):
        check_parity(net, tmp_path / "net.onnx", volumes(3, side=4))


class Twice(nn.Module):
    """Gives a large and a small output, the small one off by a share of `off`."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self.off = off

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x * 1e5, x * (1 + self.off)]


@needs_onnx
def test_a_large_output_does_not_hide_a_small_one(tmp_path: Path) -> None:
    export_onnx(Twice(0.002), tmp_path / "net.onnx", shape=(1, 4, 4, 4))
    with pytest.raises(GateRefusedError, match="output map1 differs by"):
        check_parity(Twice(0.0), tmp_path / "net.onnx", volumes(2, side=4))


@needs_onnx
def test_one_bad_case_among_good_ones_is_enough(tmp_path: Path) -> None:
    net = Affine()
    export_onnx(net, tmp_path / "net.onnx", shape=(1, 4, 4, 4))
    broken = volumes(1, side=4)[0]
    broken[0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(GateRefusedError, match="differs by inf"):
        check_parity(net, tmp_path / "net.onnx", [*volumes(1, 1, side=4), broken])


@needs_onnx
def test_an_export_that_nobody_compared_is_refused(tmp_path: Path) -> None:
    export_onnx(Affine(), tmp_path / "net.onnx", shape=(1, 4, 4, 4))
    with pytest.raises(GateRefusedError, match="nothing to compare"):
        check_parity(Affine(), tmp_path / "net.onnx", [])


NETWORKS: dict[str, tuple[nn.Module, tuple[str, ...]]] = {
    "swin": (small_swin(2, 1), ("map0", "map1", "map2")),
    "padded": (small_swin(2, padding="monai", bias_index="monai"), ("map0", "map1")),
    "detector": (NoduleDetector(small_swin(1), width=8), ("heat", "log_diameter", "offset")),
    "classifier": (
        VolumeClassifier(SegResNetEncoder(width=8, blocks=(1,)), classes=2),
        ("logits",),
    ),
}


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_of_volumes_agree_in_any_batch(tmp_path: Path, name: str) -> None:
    net, outputs = NETWORKS[name]
    path = tmp_path / "net.onnx"
    assert export_onnx(net, path, shape=(1, 20, 20, 20)) == outputs
    parity = check_parity(net, path, volumes(1, 2, 3, side=20))
    assert parity.samples == 6
    assert parity.difference < 5e-5
    session = open_session(path, threads=1)
    assert session.get_inputs()[0].shape == ["batch", 1, 20, 20, 20]
    assert list(run_session(session, volumes(1, side=20)[0])) == list(outputs)


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs onnx and onnxscript, not installed") as error:
        export_onnx(Affine(), tmp_path / "net.onnx", shape=(1, 4, 4, 4))
    assert error.value.hint == 'pip install "medvit[export]"'
    with pytest.raises(ConfigError, match="needs onnxruntime, not installed"):
        open_session(tmp_path / "net.onnx")
