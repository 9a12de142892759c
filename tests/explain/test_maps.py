"""Maps of what a network saw: by hand, never empty, and gone once the network forgot."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from medvit.errors import ModelError
from medvit.explain.eigencam import eigen_cam, first_component
from medvit.explain.gradcam import grad_cam
from medvit.explain.randomised import agreement_after_randomising
from medvit.explain.rollout import attention_rollout, attentions_of, roll
from medvit.models.backbone import Backbone2d
from medvit.models.cnn import Cnn
from medvit.models.heads.classify import DefectClassifier
from medvit.models.hub import HubBackbone, HubSettings
from medvit.models.hybrid import Hybrid, HybridSettings
from medvit.models.swin2d import Swin2d
from medvit.models.vit import Vit, VitSettings, draw_weights

SQUARE = (slice(24, 40), slice(40, 56))


def vit(registers: int = 0) -> Vit:
    settings = VitSettings(
        embed_dim=16, depth=2, num_heads=2, stem_channels=(4, 8), registers=registers
    )
    return Vit(settings)


def hub_vit() -> HubBackbone:
    """Return a tiny ViT of transformers, which has a class token."""
    config = {
        "model_type": "vit",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 64,
        "patch_size": 8,
    }
    return HubBackbone(HubSettings(config, (0.5,) * 3, (0.5,) * 3))


BACKBONES: dict[str, Callable[[], Backbone2d]] = {
    "mean of tokens": vit,
    "registers": lambda: vit(registers=3),
    "class token": hub_vit,
    "swin": lambda: Swin2d(12, (2, 2), (2, 2), window_size=4),
    "hybrid": lambda: Hybrid(HybridSettings((8, 8, 16), (1, 2), num_heads=2)),
    "cnn": lambda: Cnn((8, 16), blocks=1),
}


def classifier(name: str, *, classes: int = 3, seed: int = 1) -> DefectClassifier:
    torch.manual_seed(seed)
    net = DefectClassifier(BACKBONES[name](), classes=classes)
    draw_weights(net, generator=torch.Generator().manual_seed(seed))
    assert isinstance(net.head, nn.Linear)
    nn.init.normal_(net.head.weight, generator=torch.Generator().manual_seed(seed))
    return net.eval()


def plate(seed: int = 0) -> Tensor:
    """Return a noisy plate (1, 1, 64, 64) with a bright square."""
    image = 0.4 + 0.02 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    image[..., SQUARE[0], SQUARE[1]] += 0.4
    return image.clamp(0, 1)


SLOW = {"class token"}  # imports transformers
KINDS = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BACKBONES]


@pytest.mark.parametrize("name", KINDS)
def test_grad_cam_says_something_for_every_kind_of_encoder(name: str) -> None:
    net, image = classifier(name), plate()
    with torch.no_grad():
        grid = net.backbone(image).shape[2:]
    maps = [grad_cam(net, image, label) for label in range(3)]
    assert all(each.shape == grid and bool((each >= 0).all()) for each in maps)
    assert sum(float(each.max()) > 0 for each in maps) >= 2  # a class may have nothing for it
    assert all(parameter.grad is None for parameter in net.parameters())


def test_grad_cam_by_hand_where_the_head_reads_the_map() -> None:
    """The gradient of a mean is the same everywhere, so the map is the head's own row."""
    net, image = classifier("cnn"), plate()
    assert isinstance(net.head, nn.Linear)
    with torch.no_grad():
        features = net.backbone(image)[0]  # (c, h, w)
        expected = torch.einsum("c,chw->hw", net.head.weight[1], features).clamp_min(0)
    found = grad_cam(net, image, 1)
    torch.testing.assert_close(found * features[0].numel(), expected)


@pytest.mark.parametrize("name", ["mean of tokens", "registers", "hybrid"])
def test_rows_of_a_rollout_sum_to_one(name: str) -> None:
    tables, (h, w) = attentions_of(classifier(name).backbone, plate())
    through = roll(tables)
    assert len(tables) == 2
    assert len(through) == h * w + (3 if name == "registers" else 0)
    torch.testing.assert_close(through.sum(dim=1), torch.ones(len(through)))
    assert attention_rollout(classifier(name), plate()).shape == (h, w)


def test_rows_sum_to_one_also_where_low_attention_was_thrown_away() -> None:
    """A division by the sum of columns would pass with plain attention and fail here."""
    tables = [torch.rand(5, 5, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    kept = [torch.where(table > 0.5, table, 0.0) for table in tables]
    torch.testing.assert_close(roll(kept).sum(dim=1), torch.ones(5))


def test_recomputed_attention_is_the_one_that_was_fused() -> None:
    net, image = classifier("mean of tokens"), plate()
    assert isinstance(net.backbone, Vit)
    attn = net.backbone.blocks[0].attn
    kept: list[tuple[Tensor, Tensor]] = []
    attn.register_forward_hook(lambda _own, given, out: kept.append((given[0], out)))  # type: ignore[union-attr]
    table = attentions_of(net.backbone, image)[0][0]
    tokens, out = kept[0]
    queries, keys, values = attn.qkv(tokens)[0].view(-1, 3, 2, 8).unbind(1)  # type: ignore[union-attr, operator]
    heads = [(queries[:, h] @ keys[:, h].T / 8**0.5).softmax(1) for h in range(2)]
    torch.testing.assert_close(table, (heads[0] + heads[1]) / 2)
    mixed = torch.cat([heads[h] @ values[:, h] for h in range(2)], dim=1)
    torch.testing.assert_close(attn.proj(mixed)[None], out)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("name", ["swin", "cnn"])
def test_rollout_is_refused_without_attention_among_all_tokens(name: str) -> None:
    net = classifier(name)
    kind = type(net.backbone).__name__
    with pytest.raises(ModelError, match=f"{kind} has none") as caught:
        attention_rollout(net, plate())
    assert "gradcam" in caught.value.hint


def test_the_first_component_stands_out_upwards_whatever_sign_svd_gave() -> None:
    features = torch.randn(6, 5, 5, generator=torch.Generator().manual_seed(2)) * 0.01
    direction = torch.randn(6, generator=torch.Generator().manual_seed(3))
    features[:, 1, 3] += 4 * direction
    for sign in (1, -1):
        found = first_component(sign * features)
        assert int(found.argmax()) == 1 * 5 + 3


def _trained() -> DefectClassifier:
    """Return a net that learned whether a plate has a bright square, wherever that is."""
    torch.manual_seed(0)
    net = DefectClassifier(Cnn((8, 16), blocks=1), classes=2)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        images = 0.4 + 0.02 * torch.randn(16, 1, 64, 64, generator=generator)
        labels = torch.arange(16) % 2
        for image, label in zip(images, labels, strict=True):
            if label:
                y, x = torch.randint(0, 48, (2,), generator=generator).tolist()
                image[:, y : y + 16, x : x + 16] += 0.3
        loss = nn.functional.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return net.eval()


@pytest.fixture(scope="module")
def trained() -> DefectClassifier:
    return _trained()


@pytest.mark.parametrize("method", [grad_cam, eigen_cam], ids=["gradcam", "eigencam"])
def test_a_planted_square_holds_the_top_of_the_map(
    method: Callable[[DefectClassifier, Tensor, int], Tensor], trained: DefectClassifier
) -> None:
    image = plate(seed=5)
    with torch.no_grad():
        assert int(trained(image).argmax()) == 1
    cells = method(trained, image, 1)
    full = nn.functional.interpolate(cells[None, None], size=(64, 64), mode="nearest")[0, 0]
    top = full >= full.flatten().sort().values[-int(0.05 * full.numel())]
    near = torch.zeros(64, 64, dtype=torch.bool)
    near[16:48, 32:64] = True  # the square, and the cells it lies in with their neighbours
    assert float(near[top].float().mean()) == 1.0


def test_grad_cam_changes_as_the_network_forgets(trained: DefectClassifier) -> None:
    alike = agreement_after_randomising(
        grad_cam, trained, plate(seed=5), 1, generator=torch.Generator().manual_seed(4)
    )
    assert abs(alike[-1]) < 0.5
    before = grad_cam(trained, plate(seed=5), 1)
    torch.testing.assert_close(before, grad_cam(trained, plate(seed=5), 1))  # stays as it was


def test_a_network_in_training_mode_is_not_explained() -> None:
    net = classifier("cnn").train()
    for method in (grad_cam, eigen_cam, attention_rollout):
        with pytest.raises(ValueError, match="DefectClassifier is in training mode"):
            method(net, plate(), 0)
