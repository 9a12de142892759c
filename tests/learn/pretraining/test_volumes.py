"""The three losses against slow references, and what the heads look at."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from medvit.learn.pretraining.devices import gathered
from medvit.learn.pretraining.views import PaintShares, Patch, SslBatch, draw_view, make_views
from medvit.learn.pretraining.volumes import (
    VolumeSslLoss,
    VolumeSslNet,
    centred,
    share_of_pairs_found,
)
from medvit.models.builders import volume_backbone
from medvit.models.swin3d import Swin3d

STEPS = 40


class Fixed(nn.Module):
    """Answers what it was made with."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.answers


def slow_loss(
    turns: Tensor, logits: Tensor, z: Tensor, clean: Tensor, restored: Tensor, t: float
) -> tuple[float, float, float]:
    n = len(z) // 2
    turn = sum(
        math.log(sum(math.exp(v) for v in row.tolist())) - float(row[label])
        for row, label in zip(logits, turns.tolist(), strict=True)
    ) / len(turns)
    units = [(v - z.mean(0)) / (v - z.mean(0)).norm() for v in z]
    contrast = 0.0
    for i in range(2 * n):
        others = [math.exp(float(units[i] @ units[k]) / t) for k in range(2 * n) if k != i]
        positive = math.exp(float(units[i] @ units[(i + n) % (2 * n)]) / t)
        contrast -= math.log(positive / sum(others)) / (2 * n)
    gaps = [
        abs(a - b)
        for a, b in zip(clean.flatten().tolist(), restored.flatten().tolist(), strict=True)
    ]
    return turn, contrast, sum(gaps) / len(gaps)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_parts_equal_the_slow_loops_and_add_up(temperature: float) -> None:
    rng = torch.Generator().manual_seed(1)
    n = 3
    logits, z = torch.randn(2 * n, 4, generator=rng), torch.randn(2 * n, 8, generator=rng)
    clean, restored = torch.rand(2, 2 * n, 1, 4, 4, 4, generator=rng)
    turns = torch.randint(4, (2 * n,), generator=rng)
    objective = VolumeSslLoss(Fixed(logits, z, restored), temperature=temperature)  # type: ignore[arg-type]
    found = objective(SslBatch(clean, clean, turns))
    expected = slow_loss(turns, logits, z, clean, restored, temperature)
    parts = [float(found[name]) for name in ("turn", "contrast", "restore")]
    assert parts == pytest.approx(expected, abs=1e-5)
    assert float(found["loss"]) == pytest.approx(sum(expected), abs=1e-5)


def test_the_two_views_of_a_patch_are_the_positives() -> None:
    one, two = torch.eye(4)[:2]
    losses = {}
    for name, z in {"paired": [one, two, one, two], "crossed": [one, two, two, one]}.items():
        net = Fixed(torch.zeros(4, 4), torch.stack(z), torch.zeros(4, 1, 2, 2, 2))
        objective = VolumeSslLoss(net, temperature=0.5)  # type: ignore[arg-type]
        images = torch.zeros(4, 1, 2, 2, 2)
        losses[name] = float(objective(SslBatch(images, images, torch.zeros(4).long()))["contrast"])
    assert losses["paired"] == pytest.approx(math.log(1 + 2 * math.exp(-4)), abs=1e-6)
    assert losses["crossed"] > losses["paired"] + 1.5


def test_recognised_turns_are_counted() -> None:
    net = Fixed(torch.eye(4), torch.randn(4, 3), torch.zeros(4, 1, 2, 2, 2))
    images = torch.zeros(4, 1, 2, 2, 2)
    objective = VolumeSslLoss(net, temperature=0.5)  # type: ignore[arg-type]
    found = objective(SslBatch(images, images, torch.tensor([0, 1, 3, 2])))
    assert float(found["turn_accuracy"]) == 0.5


def test_what_all_patches_share_does_not_count() -> None:
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(centred(z + 1000), centred(z), atol=1e-3, rtol=0)
    assert centred(z).mean(0).abs().max() < 1e-6
    shared = centred(torch.stack([z, z + 2]))  # two processes: the mean of both
    torch.testing.assert_close(shared[1] - shared[0], torch.full((6, 4), 2.0))


def test_pairs_found_are_counted_by_hand() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[1.0, 0.1], [1.0, 0.2]])  # the last one is nearer to the other pair
    # first[0] finds second[0]; first[1] finds second[1]; second[0] and second[1] each other.
    assert float(share_of_pairs_found(first, second)) == 0.5


def made_batch(rng: np.random.Generator, patches: list[Patch]) -> SslBatch:
    some = [patches[number] for number in rng.choice(len(patches), 4, replace=False)]
    shares = PaintShares(noise=0.2, copied=0.1)
    return make_views(
        some, [(draw_view(rng, 16, shares), draw_view(rng, 16, shares)) for _ in some]
    )


@pytest.mark.slow
def test_in_a_few_steps_patches_are_told_apart() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((8, 16, 16, 16))
    smooth = [ndimage.gaussian_filter(part, 1 + 0.5 * n) for n, part in enumerate(noise)]
    patches = [(part / np.ptp(part) + 0.5).astype(np.float32) for part in smooth]
    net = VolumeSslNet(Swin3d(embed_dim=16, depths=(1, 1), num_heads=(1, 2), window_size=4))
    objective = VolumeSslLoss(net, temperature=0.5)
    steps = torch.optim.AdamW(net.parameters(), lr=3e-3)
    seen = []
    for _ in range(STEPS):
        found = objective(made_batch(rng, patches))
        found["loss"].backward()
        steps.step()
        steps.zero_grad()
        seen.append([float(found[name].detach()) for name in ("contrast", "contrast_accuracy")])
    start, end = np.mean(seen[:10], axis=0), np.mean(seen[-10:], axis=0)
    assert end[0] < start[0] - 0.3
    assert end[1] > 0.5  # chance is 1 in 7


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "side"), [("swin3d_tiny", 32), ("segresnet_small", 64)])
def test_voxels_are_restored_and_every_parameter_learns(backbone: str, side: int) -> None:
    torch.manual_seed(0)
    net = VolumeSslNet(volume_backbone(backbone))
    x = torch.rand(4, 1, side, side, side)
    turns, embeddings, restored = net(x)
    assert (turns.shape, embeddings.shape, restored.shape) == ((4, 4), (4, 512), x.shape)
    objective = VolumeSslLoss(net, temperature=0.5)
    objective(SslBatch(x, x, torch.tensor([0, 1, 2, 3])))["loss"].backward()
    silent = [
        name
        for name, parameter in net.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert all("relative" in name or name.endswith("bias") for name in silent), silent


class Map(nn.Module):
    """An encoder whose deepest map is its input."""

    patch_size = 1
    widths = (3,)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_heads_see_the_mean_of_the_map_not_its_corners() -> None:
    net = VolumeSslNet(Map())
    x = torch.randn(1, 3, 3, 3, 3)
    moved = x.flip((2, 3, 4)).roll(1, 3)  # other corners, the same mean
    for one, two in zip(net(x)[:2], net(moved)[:2], strict=True):
        torch.testing.assert_close(one, two)


def test_alone_nothing_is_gathered() -> None:
    z = torch.randn(4, 3)
    assert gathered(z).equal(z[None])
