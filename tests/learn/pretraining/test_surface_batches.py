"""Batches of views: the same after a resumption, and labels never come near them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medvit.learn.pretraining.surface_batches import (
    SharedOrder,
    SurfaceViewBatches,
    surface_loader,
)
from medvit.learn.pretraining.surface_views import SurfaceViewSettings

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 24, 24)).astype(np.uint8)


def batches(views: int = 2, seed: int = 3) -> SurfaceViewBatches:
    groups = ["a", "a", *[""] * 8]
    settings = SurfaceViewSettings(16)
    return SurfaceViewBatches(IMAGES, settings=settings, views=views, seed=seed, groups=groups)


def test_a_batch_depends_on_seed_epoch_and_images_alone() -> None:
    keys = [(2, 5), (2, 1), (2, 7)]
    first, again = batches().__getitems__(keys), batches().__getitems__(keys)
    assert first.views.shape == (2, 3, 1, 16, 16)
    assert first.views.equal(again.views)
    assert not first.views.equal(batches(seed=4).__getitems__(keys).views)
    later = [(3, index) for _, index in keys]
    assert not first.views.equal(batches().__getitems__(later).views)


def test_images_of_one_group_share_a_number_and_others_have_their_own() -> None:
    numbers = batches().__getitems__([(0, index) for index in range(10)]).groups
    assert numbers[0] == numbers[1]
    assert len(set(numbers.tolist())) == 9


def test_a_loader_gives_whole_batches_and_counts_its_seconds() -> None:
    loader = surface_loader(batches(views=1), batch_size=4, workers=0)
    assert len(loader) == 2
    shapes = [tuple(batch.views.shape) for batch in loader]
    assert shapes == [(1, 4, 1, 16, 16)] * 2
    assert loader.batches == 2
    assert loader.waited_s > 0


@pytest.mark.slow
def test_worker_processes_give_the_same_batches() -> None:
    alone = [batch.views for batch in surface_loader(batches(), batch_size=4, workers=0)]
    helped = [batch.views for batch in surface_loader(batches(), batch_size=4, workers=2)]
    assert all(first.equal(second) for first, second in zip(alone, helped, strict=True))


def test_several_processes_share_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for rank in range(2):
        where = "medvit.learn.pretraining.surface_batches.rank_and_world"
        monkeypatch.setattr(where, lambda rank=rank: (rank, 2))
        order = SharedOrder(11, seed=1)
        parts.append([index for _, index in order])
        assert len(order) == len(parts[-1]) == 5
    assert len({*parts[0], *parts[1]}) == 10


def test_three_views_are_refused() -> None:
    with pytest.raises(ValueError, match="got 3 views"):
        batches(views=3)


def test_grey_levels_are_shares() -> None:
    seen = batches().__getitems__([(0, 0)]).views
    assert seen.dtype == torch.float32
    assert 0 <= float(seen.min()) <= float(seen.max()) <= 1
