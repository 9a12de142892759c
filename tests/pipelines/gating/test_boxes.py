"""The gate on detectors of boxes whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medvit.data.labels.label_set import Box
from medvit.errors import InputError, ModelError
from medvit.models.builders import defect_classifier
from medvit.models.card import read_card
from medvit.registry.lineage import TRAINED_ON_FILE, Seen, mark_of, seen_text
from medvit.registry.registry import ModelVersion
from pipelines.gate import FrozenBoxImage, GateAnswer, GateSettings, frozen_boxes, judge
from pipelines.gating.answers import Answers, Cost, keep_answers, kept_file
from pipelines.gating.box_answers import boxes_said
from pipelines.gating.frozen_boxes import FrozenBoxes
from tests.make.registry import put_version

IMAGES = 80
CLASSES = ("hole", "scratch")
FALSE = ["hole", 0.95, 20.0, 20.0, 28.0, 28.0]
"""A box where nothing is."""


def freeze(folder: Path, extra: Mapping[int, Box] | None = None) -> FrozenBoxes:
    """Return images with a box of each class; 0 and 1 are of one group, 2 and 3, and so on."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    images = []
    for number in range(IMAGES):
        levels = rng.integers(0, 255, (32, 32), dtype=np.uint8)
        Image.fromarray(levels).save(folder / f"{number:03d}.png")
        boxes = (Box("hole", 2, 2, 10, 10), Box("scratch", 12, 2, 30, 6))
        more = (extra[number],) if extra and number in extra else ()
        images.append(FrozenBoxImage(f"{number:03d}.png", (*boxes, *more), f"strip {number // 2}"))
    return frozen_boxes("version 1, frozen", folder, images)


def model(
    folder: Path,
    version: str,
    frozen: FrozenBoxes,
    *,
    missed: Collection[int] = (),
    false: Collection[int] = (),
    classes: tuple[str, ...] = CLASSES,
) -> ModelVersion:
    """Return a version that finds every box it knows but the holes of some images."""
    thresholds = dict.fromkeys(classes, 0.5)
    found = put_version(folder / "models", version, classes=classes, thresholds=thresholds)
    said: list[list[list[Any]]] = [
        [
            [b.label, 0.2 if at in missed and b.label == "hole" else 0.9, *edges(b)]
            for b in image.boxes
            if b.label in classes and not (at in missed and b.label == "hole" and at % 4)
        ]
        + ([FALSE] if at in false else [])
        for at, image in enumerate(frozen.cases)
    ]
    answers = Answers(tuple(said), Cost(0.001, 10.0, "cpu"))
    keep_answers(kept_file(found, frozen, folder / "gate"), answers, about={})
    return found


def edges(box: Box) -> tuple[float, float, float, float]:
    return box.x_min, box.y_min, box.x_max, box.y_max


def ask(
    folder: Path, champion: ModelVersion, challenger: ModelVersion, frozen: FrozenBoxes
) -> GateAnswer:
    rules = GateSettings(folder=folder / "gate", rounds=200)
    return judge(champion, challenger, frozen, settings=rules, out=folder / "out")


def test_who_finds_more_boxes_is_promoted_and_flipped_boxes_are_shown(tmp_path: Path) -> None:
    frozen = freeze(tmp_path / "images")
    # Of 80 holes 20 are told below the threshold or not at all; of those 5 at a low score.
    champion = model(tmp_path, "1", frozen, missed=range(20))
    answer = ask(tmp_path, champion, model(tmp_path, "2", frozen, missed=[0]), frozen)
    assert answer.verdict == "promote"
    assert answer.reasons[0].startswith("better on mAP50: 0.906 to 1.000 (+0.094, ")
    told = json.loads((tmp_path / "out" / "gate.json").read_text())
    primary = told["primary"]
    hole, scratch = told["parts"]
    assert (primary["name"], primary["cases"]) == ("mAP50", 160)
    assert (hole["name"], scratch["name"]) == CLASSES
    # AP by COCO: precision 1 up to recall 65/80 = 0.8125, at 82 of 101 recalls.
    assert hole["difference"]["champion"] == pytest.approx(82 / 101)
    assert hole["flips"] == {"gained": 19, "lost": 0, "p": pytest.approx(2 * 0.5**19)}
    assert (scratch["difference"]["low"], scratch["difference"]["high"]) == (0.0, 0.0)
    figures = {each["name"]: each for each in told["figures"]}
    assert figures["boxes found at the operating point"]["champion"] == 140 / 160
    assert figures["false boxes an image there"]["challenger"] == 0
    page = answer.report.read_text()
    assert page.count("<img ") == page.count("data:image/jpeg") == 19
    for text in ("champion: missed", "challenger: found (0.90)", "mAP50", "strip 7"):
        assert text in page


def test_false_boxes_that_come_first_make_a_challenger_worse(tmp_path: Path) -> None:
    frozen = freeze(tmp_path / "images")
    champion = model(tmp_path, "1", frozen)
    answer = ask(tmp_path, champion, model(tmp_path, "2", frozen, false=range(60)), frozen)
    assert answer.verdict == "refuse"
    # No hole is found before 60 false ones: precision ends at 80 of 140.
    assert answer.reasons[0].startswith(
        f"worse on mAP50: 1.000 to {(1 + 80 / 140) / 2:.3f} (-0.214"
    )
    figures = {each["name"]: each for each in answer.figures["figures"]}
    assert figures["false boxes an image there"]["challenger"] == 60 / 80


def test_the_same_detector_twice_is_undecided(tmp_path: Path) -> None:
    frozen = freeze(tmp_path / "images")
    one = model(tmp_path, "1", frozen, missed=[3, 4])
    answer = ask(tmp_path, one, one, frozen)
    assert answer.verdict == "undecided"
    assert answer.reasons[0].startswith("not surely better on mAP50")


def test_a_new_class_is_learned_a_forgotten_one_refused_and_a_strange_one_told(
    tmp_path: Path,
) -> None:
    rust = {at: Box("rust", 14, 14, 24, 24) for at in range(8)}
    strange = {20: Box("oil", 14, 14, 24, 24)}
    frozen = freeze(tmp_path / "images", rust | strange)
    old = model(tmp_path, "1", frozen)
    new = model(tmp_path, "2", frozen, classes=(*CLASSES, "rust"))
    answer = ask(tmp_path, old, new, frozen)
    assert (answer.verdict, answer.reasons[0]) == (
        "promote",
        "learned rust: 8 of 8 frozen cases named",
    )
    assert "1 frozen boxes are of oil, which neither model knows" in answer.warnings[-1]
    refused = ask(tmp_path, new, old, frozen)
    assert refused.reasons[0] == "rust is unknown to the challenger, and 8 frozen cases show it"


def test_a_detector_that_learned_a_frozen_group_is_refused(tmp_path: Path) -> None:
    frozen = freeze(tmp_path / "images")
    one, two = (model(tmp_path, version, frozen) for version in ("1", "2"))
    marks = Seen(frozenset(), frozenset([mark_of("strip 3")]))
    (two.folder / TRAINED_ON_FILE).write_text(seen_text(marks))
    answer = ask(tmp_path, one, two, frozen)
    assert answer.verdict == "refuse"
    assert answer.reasons[0] == "steel@2 was trained on other cases of 1 frozen groups: strip 3"


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    frozen = freeze(tmp_path / "images")
    with pytest.raises(InputError, match="split test: 1 images hold no box to compare"):
        frozen_boxes("split test", tmp_path, [FrozenBoxImage("a.png", (), "")])
    with pytest.raises(InputError, match=r"b.png cannot be read \(No such file"):
        frozen_boxes("x", tmp_path, [FrozenBoxImage("b.png", frozen.cases[0].boxes, "")])
    one = model(tmp_path, "1", frozen, classes=("hole",))
    two = model(tmp_path, "2", frozen, classes=("scratch",))
    with pytest.raises(InputError, match="no box is of a class that both models know"):
        ask(tmp_path, one, two, frozen)
    net = defect_classifier(backbone="cnn_small", classes=2)
    with pytest.raises(ModelError, match="steel@1 is a defect_classifier, which gives no boxes"):
        boxes_said(net, read_card(one.folder), frozen, [])
