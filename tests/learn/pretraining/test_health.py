"""The alarm, the neighbours and the maps that people look at during a pretraining."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.attention import (
    attention_maps,
    attention_picture,
    attention_shares,
)
from medvit.learn.pretraining.collapse import embedding_health
from medvit.learn.pretraining.nearest import nearest_accuracy
from medvit.learn.pretraining.watch import as_batch, grid_means
from medvit.models.cnn import Cnn
from medvit.models.vit import Vit, VitSettings

TINY = VitSettings(embed_dim=16, depth=2, num_heads=2, stem_channels=(), registers=1)


def test_embeddings_that_all_point_one_way_have_collapsed() -> None:
    same = torch.ones(8, 5) + 1e-4 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    health = embedding_health(same)
    assert health.has_collapsed
    assert health.spread < 1e-3
    assert "collapse: embeddings of different images have spread 0.000" in health.sentence()
    exact = embedding_health(torch.ones(8, 5))
    assert (exact.spread, exact.rank) == (0.0, 1.0)


def test_embeddings_on_one_line_have_collapsed_though_they_are_spread() -> None:
    line = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).repeat(4, 1)
    health = embedding_health(line)
    assert health.spread == pytest.approx(1)
    assert health.rank == pytest.approx(1)
    assert health.has_collapsed


def test_the_rank_is_the_exponential_of_the_entropy_of_singular_values() -> None:
    generator = torch.Generator().manual_seed(1)
    z = F.normalize(torch.randn(30, 4, generator=generator).double(), dim=1)
    values = np.linalg.svd((z - z.mean(0)).numpy(), compute_uv=False)
    shares = values / values.sum()
    expected = math.exp(-(shares * np.log(shares)).sum())
    health = embedding_health(z)
    assert health.rank == pytest.approx(expected)
    assert 0.9 < health.spread <= 1
    assert not health.has_collapsed


def test_one_embedding_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least two embeddings, got 1"):
        embedding_health(torch.ones(1, 3))


def test_neighbours_of_the_same_group_do_not_vote() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.9, 0.3], [-1.0, 0.0], [-1.0, 0.1]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    alone = nearest_accuracy(features, labels, torch.arange(5), neighbours=1)
    assert alone == pytest.approx(0.8)  # the third has the class of the far ones
    together = nearest_accuracy(features, labels, torch.tensor([0, 0, 2, 3, 4]), neighbours=1)
    assert together == pytest.approx(0.4)  # the first two see only the third


def test_all_images_of_one_group_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images are of one group"):
        nearest_accuracy(torch.eye(3), torch.arange(3), torch.zeros(3), neighbours=1)


def test_attention_is_the_softmax_that_the_block_takes() -> None:
    torch.manual_seed(0)
    attention = Vit(TINY).blocks[0].get_submodule("attn")
    tokens = torch.randn(2, 5, 16)
    shares = attention_shares(attention, tokens)  # type: ignore[arg-type]
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(2, 2, 5))
    value = attention.qkv(tokens).view(2, 5, 3, 2, 8)[:, :, 2].transpose(1, 2)  # type: ignore[operator]
    mixed = attention.proj((shares @ value).transpose(1, 2).reshape(2, 5, 16))  # type: ignore[operator]
    torch.testing.assert_close(mixed, attention(tokens))


@pytest.mark.parametrize("net", [Vit(TINY), Cnn((4, 8), blocks=1)], ids=["vit", "cnn"])
def test_maps_are_stretched_shares_of_each_image(net: Vit | Cnn) -> None:
    net.train()
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = attention_maps(net, images)
    assert net.training
    assert maps.shape == (2, 4, 4)
    assert maps.amin(dim=(1, 2)).tolist() == [0, 0]
    assert maps.amax(dim=(1, 2)).tolist() == [1, 1]
    assert attention_picture(net, images).shape == (1, 72, 72)


def test_features_are_those_of_evaluation_and_leave_the_mode_alone() -> None:
    net = Cnn((4, 8), blocks=1).train()
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    found = grid_means(net, images, side_px=16)
    assert net.training
    with torch.no_grad():
        expected = net.eval()(as_batch(images, side_px=16)).mean(dim=(2, 3))
    torch.testing.assert_close(found, expected)
