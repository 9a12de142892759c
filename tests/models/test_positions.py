"""One set of weights answers alike at 224 and at 384 pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.models.heads.classify import DefectClassifier
from medvit.models.vit import Vit, VitSettings, draw_weights

CLASSES = 3


def marked(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return images (n, 1, 224, 224) without a spot, with a bright one, or with a dark one."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.5, 0.02, (count, 1, 224, 224)).astype(np.float32)
    labels = rng.integers(CLASSES, size=count)
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, 160, size=2)
        image[0, top : top + 64, left : left + 64] += (0.0, 0.3, -0.3)[label]
    return torch.from_numpy(images), torch.from_numpy(labels)


@pytest.mark.slow
def test_accuracy_at_384_is_within_a_point_of_that_at_224() -> None:
    settings = VitSettings(
        embed_dim=32,
        depth=2,
        num_heads=2,
        stem_channels=(8, 8, 16),
        patch_px=16,
        registers=2,
        drop_path=0.0,
    )
    net = DefectClassifier(Vit(settings), classes=CLASSES)
    draw_weights(net, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    images, labels = marked(256, seed=0)
    for step in range(48):
        chosen = torch.arange(16) + 16 * (step % 16)
        loss = F.cross_entropy(net(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    net.eval()
    images, labels = marked(200, seed=1)
    large = F.interpolate(images, size=(384, 384), mode="bilinear", antialias=True)
    with torch.no_grad():
        small, big = (
            float((net(each).argmax(1) == labels).double().mean()) for each in (images, large)
        )
    assert small > 0.95
    assert abs(small - big) <= 0.01
