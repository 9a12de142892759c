"""Confident learning on made problems whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.learn.noise.confident import (
    Floats,
    Indices,
    NoiseEstimate,
    estimate_noise,
    find_suspects,
)

TRANSITION = np.array([[0.8, 0.15, 0.05], [0.0, 0.9, 0.1], [0.2, 0.0, 0.8]])


def noisy_problem(n: int, seed: int = 0) -> tuple[Floats, Indices, Indices]:
    """Return probabilities of a good but unsure network, wrong labels, and right ones."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    labels = np.array([rng.choice(3, p=TRANSITION[j]) for j in truth])
    scores = 3 * np.eye(3)[truth] + rng.normal(size=(n, 3))
    weights = np.exp(scores)
    return weights / weights.sum(axis=1, keepdims=True), labels, truth


def test_the_joint_is_found_within_two_points() -> None:
    probabilities, labels, truth = noisy_problem(3000)
    expected = np.zeros((3, 3))
    np.add.at(expected, (labels, truth), 1 / len(labels))
    found = estimate_noise(probabilities, labels)
    np.testing.assert_allclose(found.joint, expected, atol=0.02)
    assert found.joint.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.transition, TRANSITION, atol=0.06)
    wrong = float((labels != truth).mean())
    assert found.noise_rate == pytest.approx(wrong, abs=0.03)
    assert found.interval[0] < found.noise_rate < found.interval[1]


def test_suspects_are_mostly_wrong_and_most_wrong_labels_are_suspects() -> None:
    probabilities, labels, truth = noisy_problem(3000)
    suspects = find_suspects(probabilities, labels, estimate_noise(probabilities, labels))
    wrong = set(np.flatnonzero(labels != truth).tolist())
    named = {each.index for each in suspects}
    assert len(named & wrong) / len(named) > 0.9
    assert len(named & wrong) / len(wrong) > 0.75
    first = suspects[:50]
    assert np.mean([truth[each.index] == each.suggested for each in first]) >= 0.9
    confidences = [each.confidence for each in suspects]
    assert confidences == sorted(confidences, reverse=True)


def test_the_order_of_the_images_does_not_matter() -> None:
    probabilities, labels, _ = noisy_problem(300)
    order = np.random.default_rng(1).permutation(300)
    found = find_suspects(probabilities, labels, estimate_noise(probabilities, labels))
    moved = find_suspects(
        probabilities[order], labels[order], estimate_noise(probabilities[order], labels[order])
    )
    assert {each.index for each in found} == {int(order[each.index]) for each in moved}


def test_groups_are_drawn_together() -> None:
    probabilities, labels, _ = noisy_problem(100)
    copies = np.repeat(np.arange(100), 20)
    alone = estimate_noise(probabilities[copies], labels[copies])
    together = estimate_noise(probabilities[copies], labels[copies], groups=copies)
    assert np.ptp(together.interval) > 2 * np.ptp(alone.interval)


def test_clean_and_certain_labels_are_no_suspects() -> None:
    labels = np.array([0, 1, 2] * 4)
    estimate = estimate_noise(np.eye(3)[labels], labels)
    assert estimate.noise_rate == 0
    assert find_suspects(np.eye(3)[labels], labels, estimate) == []


def test_a_class_never_loses_its_last_image() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2]])
    labels = np.array([0, 0, 1])
    estimate = NoiseEstimate(np.array([[0.6, 0.0], [0.4, 0.0]]), 0.4, (0.0, 1.0), np.eye(2))
    assert find_suspects(probabilities, labels, estimate) == []


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((3, 2)) / 2, np.array([0, 0, 0]), r"needs a label, got \[3, 0\]"),
        (np.ones((3, 2)) / 2, np.array([0, 1]), r"got \(3, 2\) and \(2,\)"),
        (np.full((2, 2), np.nan), np.array([0, 1]), "finite"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    probabilities: Floats, labels: Indices, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_noise(probabilities, labels)
