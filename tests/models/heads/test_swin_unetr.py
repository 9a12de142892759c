from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinUNETR
from torch import Tensor, nn

from medvit.models.backbone import Backbone3d
from medvit.models.builders import swin_unetr
from medvit.models.checkpoint import load_foreign, read_checkpoint
from medvit.models.heads.swin_unetr import SwinUnetr
from medvit.models.segresnet import SegResNetEncoder
from medvit.models.swin3d import Swin3d

DECODER_ENTRIES = 33


def monai_unetr(feature_size: int, *, in_channels: int = 1) -> SwinUNETR:
    """Return MONAI's network with weights that are far from their tame start."""
    torch.manual_seed(5)
    net = SwinUNETR(in_channels, 3, feature_size=feature_size).eval()
    for name, parameter in net.named_parameters():
        if "norm" in name or name.endswith("bias"):
            nn.init.uniform_(parameter, 0.3, 1.2)
        elif "table" in name:
            nn.init.normal_(parameter, std=0.5)
    return net


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("feature_size", [12, pytest.param(24, marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", [(64, 32, 32), pytest.param((32, 64, 96), marks=pytest.mark.slow)])
def test_a_swin_unetr_saved_by_monai_segments_identically(
    tmp_path: Path, feature_size: int, size: tuple[int, int, int]
) -> None:
    theirs = monai_unetr(feature_size)
    torch.save({"epoch": 7, "state_dict": theirs.state_dict()}, tmp_path / "model.pt")
    ours = swin_unetr(classes=3, feature_size=feature_size).eval()
    report = load_foreign(ours, tmp_path / "model.pt", merging="1.5")
    x = noise(1, 1, *size)
    with torch.inference_mode():
        expected, found = theirs(x), ours(x)
    assert (report.matched, report.total) == (126 + DECODER_ENTRIES, 126 + DECODER_ENTRIES)
    assert report.dropped == ()
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_published_size_segments_identically(tmp_path: Path) -> None:
    theirs = monai_unetr(48, in_channels=4)
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    ours = swin_unetr(classes=3, in_channels=4, feature_size=48).eval()
    assert load_foreign(ours, tmp_path / "model.pt", merging="1.5").matched == 159
    x = noise(2, 4, 64, 64, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_swin_unetr_v2_segments_identically(tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = SwinUNETR(1, 3, feature_size=12, use_v2=True).eval()
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    ours = swin_unetr(classes=3, feature_size=12, v2=True).eval()
    assert load_foreign(ours, tmp_path / "model.pt", merging="1.5").matched == 134 + DECODER_ENTRIES
    x = noise(1, 1, 32, 64, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=0)


def test_names_of_wrapped_networks_load_too(tmp_path: Path) -> None:
    theirs = monai_unetr(12)
    torch.save({f"module.{k}": v for k, v in theirs.state_dict().items()}, tmp_path / "model.pt")
    ours = swin_unetr(classes=3, feature_size=12).eval()
    load_foreign(ours, tmp_path / "model.pt", merging="1.5")
    torch.testing.assert_close(ours.bottom.layer.conv1.conv.weight, _bottom_weight(theirs))


def _bottom_weight(net: SwinUNETR) -> Tensor:
    return net.get_parameter("encoder10.layer.conv1.conv.weight")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("decoder3.transp_conv.conv.weight", None, "ups.2.transp_conv.conv.weight is missing"),
        ("out.conv.conv.bias", torch.ones(9), "out.conv.conv.bias is (9,), expected (3,)"),
        ("swinViT.patch_embed.proj.bias", None, "weights match 125 of 126"),
    ],
)
def test_what_does_not_match_is_named_and_nothing_is_loaded(
    key: str, value: Tensor | None, words: str
) -> None:
    state = dict(monai_unetr(12).state_dict())
    if value is None:
        del state[key]
    else:
        state[key] = value
    ours = swin_unetr(classes=3, feature_size=12)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    with pytest.raises(ValueError, match="match") as error:
        ours.load_monai(state, merging="1.5")
    assert words in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())


def test_an_encoder_takes_its_part_of_a_whole_network(tmp_path: Path) -> None:
    torch.save(monai_unetr(12).state_dict(), tmp_path / "model.pt")
    encoder = Swin3d(embed_dim=12)
    report = encoder.load_monai(read_checkpoint(tmp_path / "model.pt"), merging="1.5")
    assert (report.matched, len(report.dropped)) == (126, DECODER_ENTRIES)


SMALL: dict[str, Callable[[], Backbone3d]] = {
    "swin": lambda: Swin3d(embed_dim=8, depths=(2, 1), num_heads=(1, 2), window_size=4),
    "segresnet": lambda: SegResNetEncoder(width=8, blocks=(1, 1, 1)),
}


@pytest.mark.parametrize("name", list(SMALL))
def test_any_backbone_can_segment(name: str) -> None:
    torch.manual_seed(0)
    net = SwinUnetr(SMALL[name](), classes=2)
    logits = net(noise(1, 1, 16, 16, 24))
    assert logits.shape == (1, 2, 16, 16, 24)
    logits.square().mean().backward()
    idle = [key for key, p in net.named_parameters() if p.grad is None]
    assert idle == []
    with pytest.raises(ValueError, match="SwinUNETR has a Swin3d of four stages"):
        net.load_monai({}, merging="1.5")


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must divide by 32, got \(32, 48, 32\)"):
        swin_unetr(classes=2, feature_size=12)(torch.zeros(1, 1, 32, 48, 32))
