"""Images in memory, and the orders they are shown in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medvit.data.augment.surface import SurfaceViews, ViewSettings
from medvit.data.grey import prepare_grey
from medvit.data.surface import EpochOrder, LabelledViews, TwoViews, load_grey_images
from medvit.errors import InputError

VIEWS = SurfaceViews(ViewSettings(side_px=16))


def test_grey_is_the_mean_of_the_channels() -> None:
    pixels = np.zeros((32, 32, 3), dtype=np.float32)
    pixels[..., 0] = 0.9
    np.testing.assert_allclose(prepare_grey(pixels, side_px=32), 0.3, atol=1e-6)


def test_a_constant_image_of_any_size_stays_constant() -> None:
    pixels = np.full((50, 21, 3), 0.4, dtype=np.float32)
    grey = prepare_grey(pixels, side_px=32)
    assert grey.shape == (32, 32)
    np.testing.assert_allclose(grey, 0.4, atol=1e-6)


def test_images_are_loaded_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name, value in (("a.png", 10), ("b.png", 200)):
        Image.fromarray(np.full((40, 40), value, dtype=np.uint8)).save(tmp_path / name)
    images = load_grey_images(tmp_path, ["b.png", "a.png"], side_px=32)
    assert images.shape == (2, 32, 32)
    assert images[:, 0, 0].tolist() == [200, 10]


@pytest.mark.parametrize("content", [None, b"not an image"])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.png") as caught:
        load_grey_images(tmp_path, ["x.png"], side_px=32)
    assert "data.root" in caught.value.hint


def test_an_epoch_visits_every_image_once_in_its_own_order() -> None:
    order = EpochOrder(20, seed=3)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert sorted(index for _, index in first) == list(range(20))
    assert {epoch for epoch, _ in second} == {1}
    assert [i for _, i in first] != [i for _, i in second]
    order.set_epoch(0)
    assert list(order) == first


def test_two_views_differ_and_are_the_same_again_in_the_same_epoch() -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32), dtype=np.uint8)
    pairs = TwoViews(images, views=VIEWS, seed=1)
    first, second = pairs[0, 2]
    assert first.shape == (1, 16, 16)
    assert not torch.equal(first, second)
    assert torch.equal(pairs[0, 2][0], first)
    assert not torch.equal(pairs[1, 2][0], first)


def test_without_views_a_labelled_image_comes_as_it_is() -> None:
    images = np.full((1, 32, 32), 51, dtype=np.uint8)
    image, target = LabelledViews(images, torch.tensor([4]), views=None, seed=0)[0, 0]
    torch.testing.assert_close(image, torch.full((1, 32, 32), 0.2))
    assert int(target) == 4
