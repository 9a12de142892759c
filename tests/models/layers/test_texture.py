"""Texture against scikit-image, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.feature import local_binary_pattern

from medvit.models.layers.texture import RADII, WIDTH, Texture


def reference(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the same features by scikit-image and numpy."""
    parts = []
    for points, radius in RADII:
        codes = local_binary_pattern(image, points, radius, method="uniform")  # type: ignore[no-untyped-call]
        parts.append(np.bincount(codes.astype(int).ravel(), minlength=points + 2) / codes.size)
    grey = image.astype(np.float64)
    slope = np.hypot(*np.gradient(grey))
    for values, top in ((grey, 256), (slope, 64)):
        parts.append(np.histogram(values, bins=16, range=(0, top))[0] / grey.size)
    found: NDArray[np.float64] = np.sqrt(np.concatenate(parts))
    return found


def seen(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255)[None, None]


@settings(max_examples=20, deadline=None)
@given(
    sides=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    levels=st.sampled_from([2, 3, 8, 256]),
    seed=st.integers(0, 999),
)
def test_texture_equals_scikit_image_ties_included(
    sides: tuple[int, int], levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.integers(0, levels, sides) * (255 // (levels - 1))).astype(np.uint8)
    np.testing.assert_allclose(Texture()(seen(image))[0], reference(image), atol=1e-5)


def test_a_flat_image_by_hand() -> None:
    found = Texture()(torch.full((1, 1, 50, 50), 77 / 255))[0]
    grey, slope = found[-32:-16], found[-16:]
    assert (int(grey.argmax()), float(grey.max())) == (4, 1.0)  # 77 lies in 64..80
    assert (int(slope.argmax()), float(slope.max())) == (0, 1.0)
    # Circle of radius 1, places on pixels count as equal; of 50x50 pixels 48x48 see no border.
    assert float((found[:10] ** 2).sum()) == pytest.approx(1)
    assert not found.isnan().any()


def test_images_of_a_batch_do_not_mix_and_colour_counts_by_its_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 86, (2, 1, 12, 17), generator=generator) * 3
    colour = (levels + torch.tensor([-6, 0, 6])[:, None, None]).clamp(0, 255) / 255
    grey = colour.mean(dim=1, keepdim=True)
    texture = Texture()
    torch.testing.assert_close(texture(colour), texture(grey))
    torch.testing.assert_close(texture(colour)[1:], texture(colour[1:]))
    assert texture(colour).shape == (2, WIDTH)
