"""A backbone with texture beside it behaves as any other does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medvit.explain.activations import activations_of
from medvit.inference.evidence import evidence_map, margin
from medvit.learn.tuning.methods import prepare
from medvit.models.backbone import Backbone2d
from medvit.models.builders import build_model, image_backbone
from medvit.models.cnn import Cnn
from medvit.models.heads.classify import DefectClassifier
from medvit.models.layers.texture import WIDTH, Texture
from medvit.models.textured import LEAST_SD, TexturedBackbone
from medvit.models.vit import draw_weights


def textured(*, in_channels: int = 1) -> TexturedBackbone:
    torch.manual_seed(0)
    return TexturedBackbone(Cnn((4, 8), in_channels=in_channels)).eval()


def images(n: int = 5, *, sides: tuple[int, int] = (50, 33), channels: int = 1) -> Tensor:
    return torch.rand(n, channels, *sides, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sides", [(64, 64), (50, 33)])
def test_features_are_means_sds_and_texture_at_any_size(sides: tuple[int, int]) -> None:
    net, x = textured(), images(sides=sides)
    with torch.no_grad():
        maps = net.network.maps(x)
        found = net.raw(x)
    wanted = [own.mean(dim=(2, 3)) for own in maps]
    wanted += [own.std(dim=(2, 3), correction=0) for own in maps]
    torch.testing.assert_close(found, torch.cat([*wanted, Texture()(x)], dim=1))
    assert found.shape == (5, net.out_channels) == (5, 2 * (4 + 8) + WIDTH)


def test_scaled_features_have_mean_0_and_both_blocks_weigh_the_same() -> None:
    net, x = textured(), images(12, sides=(64, 64))
    with torch.no_grad():
        raw = net.raw(x)
        net.learn_scale(raw)
        scaled = net(x).mean(dim=(2, 3))
    assert float(scaled.mean(dim=0).abs().max()) < 1e-5
    sds = scaled.std(dim=0) * net.placed_channels**0.5
    own, raw_sd = sds[: net.placed_channels], raw.std(dim=0)[: net.placed_channels]
    varied = raw_sd >= LEAST_SD * raw_sd.mean()
    torch.testing.assert_close(own[varied], torch.ones_like(own[varied]), atol=1e-3, rtol=0)


def test_a_bin_that_was_empty_in_training_does_not_take_over() -> None:
    net = textured()
    dark = images(12) * 0.2
    with torch.no_grad():
        net.learn_scale(net.raw(dark))
        bright = net(dark * 4.9).mean(dim=(2, 3))
    assert float(bright.abs().max()) < 100


def test_one_image_gives_no_scale() -> None:
    with pytest.raises(ValueError, match="at least 2 training images, got 1"):
        textured().learn_scale(torch.rand(1, 94))


def test_evidence_adds_up_to_the_part_of_the_network() -> None:
    net = DefectClassifier(textured(), classes=3).eval()
    x = images(1, sides=(64, 64))
    with torch.no_grad():
        patches, flat = net.backbone.embed(x), net.backbone.embed(torch.zeros_like(x))
        flat[:, -WIDTH:] = patches[:, -WIDTH:]  # texture stays, the network sees nothing
        wanted = margin(net.judge(patches), 1) - margin(net.judge(flat), 1)
    found = evidence_map(net, x, 1, shares=[(step + 0.5) / 256 for step in range(256)])
    assert found.shape == patches.shape[2:]
    assert float(found.sum()) == pytest.approx(float(wanted), abs=2e-2 * float(wanted.abs()) + 1e-3)


@pytest.mark.parametrize(
    ("method", "backbone"), [("adapter", "cnn_small"), ("prompt", "vit_tiny_stem")]
)
def test_tuning_reaches_the_network_and_the_card_builds_it_again(
    method: str, backbone: str
) -> None:
    arguments = {"backbone": backbone, "classes": 2}
    net = build_model("defect_classifier", **arguments, extras={"texture": True})
    assert isinstance(net, DefectClassifier)
    draw_weights(net, generator=torch.Generator().manual_seed(0))
    tuned = prepare(net, method)  # type: ignore[arg-type]
    learning = {name for name, own in net.named_parameters() if own.requires_grad}
    assert any(name.startswith("backbone.network.") for name in learning)
    again = build_model("defect_classifier", **arguments, extras={"texture": True, **tuned.extras})
    again.load_state_dict(net.state_dict())
    x = images(2, sides=(64, 64))
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), net.eval()(x))


def test_a_bare_network_is_its_own() -> None:
    plain = image_backbone("cnn_small")
    assert plain.bare is plain
    joined = image_backbone("cnn_small", in_channels=3, texture=True)
    assert isinstance(joined.bare, Backbone2d)
    assert joined.bare is not joined
    assert joined.in_channels == 3
    assert not [*Texture().parameters()]


def test_maps_of_a_class_leave_texture_out() -> None:
    net = DefectClassifier(textured(), classes=3).eval()
    seen = activations_of(net, images(1, sides=(64, 64)))
    assert seen.raw.shape[1] == 2 * (4 + 8)
    torch.testing.assert_close(seen.logits, net(images(1, sides=(64, 64))))
