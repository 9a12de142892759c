"""What a model knows, beside its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medvit.errors import ModelError
from medvit.models.card import LOOKS_FILE, Architecture, ModelCard
from medvit.trust.ood import KnownLooks, read_looks
from medvit.trust.typicality import Floats, Indices

CENTRES = 8 * np.eye(6)[:3]


def known(n: int, seed: int) -> tuple[Floats, Indices]:
    """Draw three classes in six dimensions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    return CENTRES[labels] + rng.normal(size=(n, 6)), labels


def looks(held_out: int = 200) -> KnownLooks:
    return KnownLooks.of(*known(300, 0), known(held_out, 1)[0])


def saved(folder: Path) -> tuple[KnownLooks, ModelCard]:
    own = looks()
    (folder / LOOKS_FILE).write_bytes(own.to_bytes())
    card = ModelCard(
        name="net",
        version="1",
        task="defect",
        architecture=Architecture(builder="defect_classifier"),
        classes=("a", "b", "c"),
        ood=own.card_entry(own.to_bytes()),
    )
    return own, card


def test_one_known_image_in_twenty_is_beyond_the_limit() -> None:
    own = looks(held_out=200)
    assert (own.ood(own.reference) > 0).sum() <= 10  # 5 % of those that set the limit
    assert abs((own.ood(known(4000, 2)[0]) > 0).mean() - 0.05) < 0.03
    between = np.random.default_rng(3).normal(size=(400, 6)) + CENTRES.mean(axis=0)
    assert (own.ood(between) > 0).mean() > 0.95


def test_classes_may_have_any_numbers() -> None:
    x, labels = known(300, 0)
    held_out = known(50, 1)[0]
    plain = KnownLooks.of(x, labels, held_out).ood(held_out)
    np.testing.assert_array_equal(KnownLooks.of(x, 10 * labels + 3, held_out).ood(held_out), plain)


def test_what_was_saved_says_the_same(tmp_path: Path) -> None:
    own, card = saved(tmp_path)
    again = read_looks(tmp_path, card)
    assert again is not None
    new = known(50, 4)[0]
    np.testing.assert_array_equal(again.ood(new), own.ood(new))
    assert card.ood["limit"] == pytest.approx(again.limit, abs=0)
    np.testing.assert_allclose(again.reference, own.reference, rtol=1e-6)


def test_a_class_that_was_added_is_known() -> None:
    own = looks()
    rng = np.random.default_rng(5)
    newcomers = 8 * np.eye(6)[4] + rng.normal(size=(45, 6))
    grown = own.grown(newcomers[:5], np.full(5, 3))
    assert (own.ood(newcomers[5:]) > 0).mean() > 0.95
    assert (grown.ood(newcomers[5:]) > 0).mean() < 0.5


def test_a_model_without_statistics_tells_nothing(tmp_path: Path) -> None:
    _, card = saved(tmp_path)
    assert read_looks(tmp_path, card.model_copy(update={"ood": {}})) is None


def test_altered_or_missing_statistics_are_named(tmp_path: Path) -> None:
    own, card = saved(tmp_path)
    content = bytearray(own.to_bytes())
    content[-1] ^= 1
    (tmp_path / LOOKS_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=str(card.ood["sha256"])[:12]):
        read_looks(tmp_path, card)
    half = own.to_bytes()[:100]
    (tmp_path / LOOKS_FILE).write_bytes(half)
    damaged = card.model_copy(update={"ood": own.card_entry(half)})
    with pytest.raises(ModelError, match="not a whole file of statistics"):
        read_looks(tmp_path, damaged)
    (tmp_path / LOOKS_FILE).unlink()
    with pytest.raises(ModelError, match=r"statistics of net@1 are missing"):
        read_looks(tmp_path, card)


def test_too_few_held_out_images_set_no_limit() -> None:
    with pytest.raises(ValueError, match="got 19"):
        looks(held_out=19)
