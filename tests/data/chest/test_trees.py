"""Vessel trees reach every tip, and flow is kept at every split."""

from __future__ import annotations

import numpy as np

from medvit.data.chest.trees import grow_tree, with_twigs

ROOT = np.array([0.0, 0.0, 0.0])


def tips(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(20, 80, (count, 3))


def test_every_tip_is_the_end_of_a_branch() -> None:
    at = tips(64)
    tree = grow_tree(np.random.default_rng(0), ROOT, at, tip_radius_mm=0.5)
    apart = np.linalg.norm(tree[None, :, 3:6] - at[:, None], axis=2).min(axis=1)
    np.testing.assert_allclose(apart, 0, atol=1e-9)


def test_the_trunk_is_as_thick_as_its_tips_ask() -> None:
    tree = grow_tree(np.random.default_rng(0), ROOT, tips(512), tip_radius_mm=0.5)
    starts_at_root = np.linalg.norm(tree[:, :3] - ROOT, axis=1) < 1e-9
    np.testing.assert_allclose(tree[starts_at_root, 6], 4.0)  # 0.5 * 512^(1/3)


def test_branches_hang_together() -> None:
    tree = grow_tree(np.random.default_rng(0), ROOT, tips(32), tip_radius_mm=0.5)
    ends = np.concatenate([ROOT[None], tree[:, 3:6]])
    apart = np.linalg.norm(tree[:, None, :3] - ends[None], axis=2).min(axis=1)
    np.testing.assert_allclose(apart, 0, atol=1e-9)


def test_a_branch_is_never_thicker_than_the_one_before_it() -> None:
    tree = grow_tree(np.random.default_rng(0), ROOT, tips(100), tip_radius_mm=0.5)
    assert (tree[:, 7] <= tree[:, 6] + 1e-9).all()


def test_twigs_sit_on_thin_branches_and_are_thinner() -> None:
    tree = grow_tree(np.random.default_rng(0), ROOT, tips(32), tip_radius_mm=0.5)
    twigs = with_twigs(np.random.default_rng(1), tree, thinner_mm=0.7)[len(tree) :]
    assert len(twigs) == 2 * int((tree[:, 6] < 0.7).sum())
    away = twigs[:, None, :3] - tree[None, :, :3]
    way = tree[:, 3:6] - tree[:, :3]
    along = np.clip((away * way).sum(axis=2) / (way**2).sum(axis=1), 0, 1)
    apart = np.linalg.norm(away - along[..., None] * way, axis=2).min(axis=1)
    np.testing.assert_allclose(apart, 0, atol=1e-9)
    assert twigs[:, 6].max() < 0.7 * 0.8
