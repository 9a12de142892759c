"""EfficientNet-Lite0 is the published network, and its weights are the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from medvit.errors import ModelError
from medvit.models import imagenet_weights
from medvit.models.checkpoint import read_checkpoint
from medvit.models.imagenet_weights import SHA256, find_imagenet_file, imagenet_lite0


def pattern() -> Tensor:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    return ((x * 7 + y * 3 + x * y) % 64 / 63).float()[None, None]


@torch.no_grad()
def test_a_grey_image_is_seen_as_the_published_code_sees_it() -> None:
    """Expected by `efficientnet-lite-pytorch` 0.1.0, which its authors checked on ImageNet."""
    net = imagenet_lite0(find_imagenet_file()).eval()
    found = net(pattern()).mean(dim=(2, 3))[0]
    torch.testing.assert_close(
        torch.stack([found.mean(), found.std(), *found[[0, 100, 500, 1279]]]),
        torch.tensor([0.9959, 1.9116, 0.9402, 1.8832, 1.5389, 0.0]),
        atol=1e-4,
        rtol=0,
    )
    torch.testing.assert_close(net(pattern() * 0.5 + 0.5), net(pattern() * 0.5), atol=1e-3, rtol=0)


@torch.no_grad()
def test_colours_are_seen_as_the_published_code_sees_them() -> None:
    x = pattern()
    found = imagenet_lite0(find_imagenet_file(), in_channels=3).eval()(
        torch.cat([x, x**2, 1 - x], dim=1)
    )
    torch.testing.assert_close(
        found.mean(dim=(2, 3))[0][[0, 100, 500, 1279]],
        torch.tensor([2.0760, 0.0, 3.5125, 0.0]),
        atol=1e-4,
        rtol=0,
    )


@torch.no_grad()
def test_norms_can_be_merged_into_convolutions() -> None:
    net = imagenet_lite0(find_imagenet_file()).eval()
    before = net.maps(pattern())
    net.fold_norms()
    assert not [name for name, _ in net.named_buffers()]
    for own, other in zip(net.maps(pattern()), before, strict=True):
        torch.testing.assert_close(own, other, atol=2e-4, rtol=1e-4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    altered = bytearray(find_imagenet_file().read_bytes())
    altered[-1] ^= 1
    other = tmp_path / "lite0.pth"
    other.write_bytes(altered)
    with pytest.raises(
        ModelError, match=rf"lite0.pth: sha256 .* is not the expected {SHA256[:12]}"
    ):
        imagenet_lite0(other)


def test_a_file_of_old_torch_is_read_only_where_its_hash_is_known() -> None:
    with pytest.raises(ModelError, match=r"not a whole file in the format of torch >= 1\.6"):
        read_checkpoint(find_imagenet_file())


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_weights, "PACKAGE", "no-such-package")
    with pytest.raises(ModelError, match="no-such-package, which is not installed") as caught:
        find_imagenet_file()
    assert "medvit[imagenet]" in caught.value.hint
