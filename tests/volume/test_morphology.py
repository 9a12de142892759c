from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from medvit.volume.morphology import close, dilate, fill_slices, largest_component, open_slices

masks = arrays(np.bool_, st.tuples(*[st.integers(1, 6)] * 3))


def test_dilation_reaches_as_far_as_the_radius() -> None:
    mask = np.zeros((1, 7, 7), dtype=bool)
    mask[0, 3, 3] = True
    grown = dilate(mask, 4.0, spacing_mm=2.0)
    assert np.argwhere(grown[0])[0].tolist() == [1, 3]
    assert grown.sum() == 13  # a disc of radius two voxels


@given(masks, st.floats(0.5, 6), st.sampled_from([1.0, 3.0]))
def test_dilation_agrees_with_the_distance_transform(
    mask: np.ndarray, radius_mm: float, spacing_mm: float
) -> None:
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    expected = (distance <= radius_mm) & mask.any()
    assert (dilate(mask, radius_mm, spacing_mm=spacing_mm) == expected).all()


@given(masks, st.one_of(st.none(), st.integers(0, 9)))
def test_filled_holes_agree_with_each_slice_by_itself(
    mask: np.ndarray, max_voxels: int | None
) -> None:
    for plane, filled in zip(mask, fill_slices(mask, max_voxels=max_voxels), strict=True):
        labels, count = ndimage.label(ndimage.binary_fill_holes(plane) & ~plane)
        sizes = [int((labels == label).sum()) for label in range(count + 1)]
        wanted = [k for k in range(1, count + 1) if max_voxels is None or sizes[k] <= max_voxels]
        assert (filled == (plane | np.isin(labels, wanted))).all()


def test_a_far_reach_does_not_overflow() -> None:
    mask = np.zeros((1, 1, 400), dtype=bool)
    mask[..., 0] = True
    assert dilate(mask, 200.0, spacing_mm=1.0).sum() == 201


def test_closing_fills_a_dent_in_the_end_slice() -> None:
    mask = np.ones((3, 9, 9), dtype=bool)
    mask[:2, 4, 4] = False
    assert close(mask, 2.0, spacing_mm=1.0).all()


def test_opening_drops_a_thin_table_and_keeps_a_cut_body() -> None:
    mask = np.zeros((2, 20, 12), dtype=bool)
    mask[:, :12] = True
    mask[:, 17] = True
    opened = open_slices(mask, 1.5, spacing_mm=1.0)
    assert opened[:, :12].all()
    assert not opened[:, 12:].any()


def test_only_small_holes_are_filled_when_asked() -> None:
    mask = np.ones((1, 8, 12), dtype=bool)
    mask[0, 2, 2] = False
    mask[0, 2:5, 6:9] = False
    assert fill_slices(mask).all()
    filled = fill_slices(mask, max_voxels=4)
    assert filled[0, 2, 2]
    assert not filled[0, 2:5, 6:9].any()


def test_the_largest_part_wins() -> None:
    mask = np.array([[[1, 0, 1, 1, 0, 1]]], dtype=bool)
    assert largest_component(mask).tolist() == [[[False, False, True, True, False, False]]]


@given(masks, st.floats(0.5, 4))
def test_closing_never_loses_a_voxel(mask: np.ndarray, radius_mm: float) -> None:
    assert (close(mask, radius_mm, spacing_mm=1.0) | ~mask).all()
    assert (~open_slices(mask, radius_mm, spacing_mm=1.0) | mask).all()


def test_nothing_stays_nothing() -> None:
    empty = np.zeros((2, 3, 4), dtype=bool)
    assert not dilate(empty, 5, spacing_mm=1).any()
    assert not close(empty, 5, spacing_mm=1).any()
    assert not largest_component(empty).any()
    assert not fill_slices(empty, max_voxels=3).any()
