"""A trained classifier is registered with what it knows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medvit.data.labelled import LabelledImages
from medvit.learn.classify import FeatureReader
from medvit.models.builders import defect_classifier
from medvit.models.card import LOOKS_FILE
from medvit.registry.integrity import verify
from medvit.registry.lineage import Seen, read_seen
from medvit.registry.registry import find_model
from medvit.registry.saving import save_version
from medvit.trust.ood import read_looks
from pipelines.classifying.known_looks import grown_looks, learn_looks, with_looks
from tests.make.surface import CLASSES, surface_image


def labelled(count: int, *, seed: int, classes: tuple[str, ...] = CLASSES) -> LabelledImages:
    rng = np.random.default_rng(seed)
    labels = torch.arange(count) % len(classes)
    images = [surface_image(classes[int(k)], side_px=32, rng=rng) for k in labels]
    return LabelledImages(np.stack(images), labels, tuple(f"{n}.png" for n in range(count)))


def drawn() -> Any:
    torch.manual_seed(0)
    return defect_classifier(backbone="vit_tiny_stem", classes=3).eval()


CARD = {
    "task": "defect",
    "architecture": {
        "builder": "defect_classifier",
        "arguments": {"backbone": "vit_tiny_stem", "classes": 3},
    },
    "classes": CLASSES,
}


def test_what_a_model_knows_lies_beside_its_weights_and_is_verified(tmp_path: Path) -> None:
    net = drawn()
    splits = {"train": labelled(30, seed=0), "val": labelled(24, seed=1)}
    looks = learn_looks(FeatureReader(net), splits)
    assert looks is not None
    card, seen = with_looks(CARD, Seen(), looks)
    saved = save_version(tmp_path, net, name="net", card=card, readme="", seen=seen)
    folder = find_model("net", models=tmp_path, shipped=tmp_path / "none").folder
    again = read_looks(folder, saved)
    assert again is not None
    assert again.limit == looks.limit
    assert read_seen(folder) == Seen()
    assert verify(tmp_path, shipped=tmp_path / "none").faults == ()
    more = labelled(6, seed=2, classes=("dots", "dots"))
    more = LabelledImages(more.images, torch.full((6,), 3), more.paths)
    grown = grown_looks(folder, saved, net, more)
    assert grown is not None
    assert len(grown.typicality.means) == 4
    (folder / LOOKS_FILE).write_bytes(b"something else")
    (fault,) = verify(tmp_path, "net", shipped=tmp_path / "none").faults
    assert fault.file == folder / LOOKS_FILE


def test_too_few_held_out_images_are_said(caplog: pytest.LogCaptureFixture) -> None:
    few = {"train": labelled(9, seed=0), "val": labelled(19, seed=1)}
    with caplog.at_level(logging.WARNING):
        assert learn_looks(FeatureReader(drawn()), few) is None
    assert "split val has 19 images; with 20" in caplog.text
    card, seen = with_looks(CARD, Seen(), None)
    assert "ood" not in card
    assert seen.looks == b""
