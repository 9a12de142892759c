"""Batches of images of several sizes, and what a detector sees of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medvit.data.box_images import (
    BoxItem,
    BoxRow,
    SizedBatches,
    collate_boxes,
    load_box_images,
)
from medvit.data.labels.label_set import Box
from medvit.data.surface import EpochOrder

STRIP, TALL, SQUARE = (32, 128), (128, 32), (128, 128)


def batches_of(sizes: list[tuple[int, int]], *, batch_size: int, epoch: int = 0) -> list[list[int]]:
    order = EpochOrder(len(sizes), seed=0)
    batches = SizedBatches(sizes, batch_size=batch_size, order=order)
    order.set_epoch(epoch)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert {at for batch in drawn for at, _ in batch} <= {epoch}
    return [[index for _, index in batch] for batch in drawn]


@given(st.lists(st.sampled_from([STRIP, TALL, SQUARE]), min_size=1, max_size=40), st.integers(1, 9))
def test_an_epoch_shows_images_once_and_as_many_as_fill_batches(
    sizes: list[tuple[int, int]], batch_size: int
) -> None:
    drawn = batches_of(sizes, batch_size=batch_size)
    shown = [index for batch in drawn for index in batch]
    assert len(shown) == len({*shown}) == len(sizes) // batch_size * batch_size
    assert all(len(batch) == batch_size for batch in drawn)
    mixed = [batch for batch in drawn if len({sizes[index] for index in batch}) > 1]
    assert len(mixed) <= 2  # no more than there are borders between three sizes


def test_images_of_one_size_come_in_the_order_of_the_epoch() -> None:
    order = EpochOrder(20, seed=0)
    order.set_epoch(3)
    keys = [index for _, index in order]
    assert batches_of([SQUARE] * 20, batch_size=6, epoch=3) == [keys[:6], keys[6:12], keys[12:18]]


def test_a_rare_size_is_not_left_out_of_every_epoch() -> None:
    sizes = [STRIP] * 17 + [SQUARE] * 2
    shown = [
        {index for batch in batches_of(sizes, batch_size=6, epoch=epoch) for index in batch}
        for epoch in range(20)
    ]
    for rare in (17, 18):
        assert any(rare in each for each in shown)


def test_items_of_two_sizes_share_a_batch_on_a_ground_of_their_mean() -> None:
    small = torch.rand(1, 4, 8, generator=torch.Generator().manual_seed(0))
    large = torch.ones(1, 8, 8)
    none = (torch.empty(0, 4), torch.empty(0, dtype=torch.long))
    batch = collate_boxes([BoxItem(small, *none), BoxItem(large, *none)])
    assert batch.pixels.shape == (2, 1, 8, 8)
    assert torch.equal(batch.pixels[0, :, :4], small[:])
    assert batch.pixels[0, 0, 4:].numpy() == pytest.approx(float(small.mean()))
    assert torch.equal(batch.pixels[1], large)


def test_images_keep_their_form_and_boxes_their_place(tmp_path: Path) -> None:
    for name, (height, width) in {"strip": (50, 400), "tall": (90, 60), "square": (40, 40)}.items():
        Image.fromarray(np.full((height, width), 100, np.uint8)).save(tmp_path / f"{name}.png")
    rows = [
        BoxRow("strip.png", (Box("dent", 40, 10, 80, 30),)),
        BoxRow("tall.png", ()),
        BoxRow("square.png", (Box("dent", 0, 0, 40, 40),)),
    ]
    how = {"classes": ("dent",), "side_px": 100, "multiple_px": 32, "channels": "grey"}
    images, problems = load_box_images(tmp_path, rows, **how)  # type: ignore[arg-type]
    assert not problems
    assert images.sizes == [(32, 100), (100, 96), (100, 100)]
    assert images.boxes[0].tolist() == [[10.0, 2.5, 20.0, 7.5]]
    assert images.boxes[2].tolist() == [[0.0, 0.0, 100.0, 100.0]]
    assert images.longest_px == 400
