"""Precision-recall curves on the page of models: what a slider says, and where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from apps.review.class_curves import (
    ClassCurve,
    class_curves,
    draw_curve,
    first_point,
    in_use_told,
    nothing_told,
    point_told,
    threshold_names,
)
from medvit.models.card import Architecture, ModelCard, read_card
from medvit.registry.registry import find_model
from pipelines import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config
from tests.apps.review.conftest import Practice
from tests.apps.review.test_more_pages import choose, page_of
from tests.apps.review.test_pages import said, sound
from tests.make.registry import put_version
from tests.make.surface import write_surface_set

SCRATCH = ClassCurve(
    "scratch",
    threshold=(0.2, 0.62, 0.9),
    precision=(0.5, 0.969, 1.0),
    recall=(1.0, 0.913, 0.25),
    n=46,
    noun="image",
    split="test",
)


def card_of(builder: str = "defect_classifier", **fields: Any) -> ModelCard:
    return ModelCard(
        name="m",
        version="1",
        task="defect",
        architecture=Architecture(builder=builder),
        classes=("scratch", "sound"),
        **fields,
    )


def shown(page: AppTest, reference: str) -> AppTest:
    return sound(choose(page, "Look at", reference).run())


def test_a_threshold_is_told_in_one_sentence() -> None:
    assert point_told(SCRATCH, 1) == (
        "from 0.620: finds 91.3% of 46 images of scratch, "
        "3.1% of what it names scratch is wrong (split test)"
    )
    assert "of 1 image of scratch" in point_told(replace(SCRATCH, n=1), 1)
    boxes = replace(SCRATCH, noun="box", threshold=(), precision=(), recall=())
    assert nothing_told(boxes) == "finds none of 46 boxes of scratch at any score (split test)"


def test_thresholds_have_digits_enough_to_differ() -> None:
    close = (0.1, 0.5, 1 - 1e-7, 1 - 1e-9, 1.0)
    names = threshold_names(close)
    assert names[:2] == ["0.100", "0.500"]
    assert len({*names}) == len(close)
    assert threshold_names([0.5, 0.5 + 1e-16 + 2e-16])[1] != "0.500"


def test_the_slider_starts_where_the_model_cuts() -> None:
    assert first_point(SCRATCH, card_of()) == 1  # 0.5 without a threshold
    assert first_point(SCRATCH, card_of(thresholds={"scratch": 0.1})) == 0
    assert first_point(SCRATCH, card_of(thresholds={"scratch": 0.62})) == 1
    assert first_point(SCRATCH, card_of(thresholds={"scratch": 0.95})) == 2


def test_the_chosen_point_is_marked() -> None:
    curve, mark = draw_curve(SCRATCH, 2).data
    assert (curve.x, curve.y) == (SCRATCH.recall, SCRATCH.precision)
    assert (mark.x, mark.y) == ((0.25,), (1.0,))


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        (card_of(), "its most probable class, whatever its probability; it has no option"),
        (
            card_of(preprocessing={"sound_class": "sound"}),
            "in tiles of large images it marks scratch from 0.500; it has no option",
        ),
        (card_of("defect_detector"), "medvit scan marks scratch from a score of 0.050;"),
        (
            card_of(
                "defect_detector",
                thresholds={"scratch": 0.4},
                calibration={"slope": 1.0, "intercept": 0.0},
            ),
            "from a score of 0.400 (in findings.csv a probability of 0.400); it has no option",
        ),
    ],
)
def test_what_scans_use_now_is_told(card: ModelCard, wanted: str) -> None:
    assert wanted in in_use_told(SCRATCH, card)


@pytest.mark.slow
def test_a_trained_classifier_shows_what_a_threshold_finds(
    practice: Practice, tmp_path: Path
) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 6, "val": 2, "test": 3})
    values = {
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "tiny"},
        "tuning": {"method": "prototype"},
        "train": {"epochs": 1, "batch_size": 6, "lr": 1e-3},
        "views": {"side_px": 32},
    }
    config = check_config(ClassifyConfig, {"task": "classify", **values}, name="tiny.yaml")
    assert train.run(config, practice.workspace)["model"] == "tiny@1"
    card = read_card(find_model("tiny", models=practice.workspace.models).folder)
    curve = class_curves(card)["lines"]
    page = shown(page_of("apps.review.models_page", "show_models", "Lee"), "tiny@1")
    page = sound(choose(page, "Class", "lines").run())
    assert point_told(curve, first_point(curve, card)) in said(page)
    (slider,) = page.select_slider
    assert slider.options == threshold_names(curve.threshold)
    page = sound(slider.set_value(slider.options[0]).run())
    assert "finds 100.0% of 3 images of lines, 66.7% of what it names lines is" in said(page)
    assert "keeps them at its end" not in said(page)


def test_a_card_without_curves_says_how_to_get_them(practice: Practice) -> None:
    figures = {"recall": 0.5, "precision": 1.0, "f1": 2 / 3, "n": 4}
    models = practice.workspace.models
    put_version(models, "1", name="old", metrics={"accuracy": 0.5, "per_class": {"a": figures}})
    put_version(models, "1", name="silent", metrics={"n": 0})
    page = shown(page_of("apps.review.models_page", "show_models", "Lee"), "old@1")
    assert "holds no precision-recall curves: medvit train keeps them" in said(page)
    assert len(page.select_slider) == 0
    page = shown(page, "silent@1")
    assert "Its card holds no figures of cases that were held out." in said(page)


def test_a_class_found_at_no_threshold_or_at_one_has_no_slider(practice: Practice) -> None:
    none: dict[str, Any] = {"threshold": [], "precision": [], "recall": [], "n": 3}
    one = {"threshold": [0.3], "precision": [0.5], "recall": [1.0], "n": 1}
    curves = {"split": "test", "classes": {"hole": none, "scratch": one}}
    put_version(practice.workspace.models, "1", name="mute", metrics={"curves": curves})
    page = shown(page_of("apps.review.models_page", "show_models", "Lee"), "mute@1")
    assert "finds none of 3 images of hole at any score" in said(page)
    page = sound(choose(page, "Class", "scratch").run())
    assert "from 0.300: finds 100.0% of 1 image of scratch, 50.0%" in said(page)
    assert len(page.select_slider) == 0
