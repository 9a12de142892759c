"""What a plan chooses when labels seem wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medvit.data.fingerprint import Fingerprint, NoiseEstimate
from pipelines.plan_rules import Start, choose, notes, shipped_weights


def fingerprint(noise: NoiseEstimate | None, *, fewest: int = 40) -> Fingerprint:
    counts = {"a": 200, "b": fewest}
    return Fingerprint(
        images=240,
        unreadable=0,
        unlabelled=0,
        counts=counts,
        train_counts=counts,
        median_px=128,
        smallest_px=128,
        largest=("a.png", 128, 128),
        grey=240,
        colour=0,
        groups=240,
        duplicates=0,
        imbalance=200 / fewest,
        noise=noise,
    )


@pytest.mark.parametrize(
    ("rate", "low", "fewest", "method", "why"),
    [
        (0.04, 0.01, 40, "none", "4% of the labels seem wrong (1% to 10%): not surely more than"),
        (0.20, 0.17, 40, "prune", "the most suspicious are left out before training"),
        (0.40, 0.35, 40, "prune", "40% of the labels seem wrong (35% to 46%)"),
        (0.55, 0.50, 40, "none", "more than half"),
        (0.20, 0.17, 6, "none", "the rarest class has 6 images"),
    ],
)
def test_the_method_follows_from_the_share_of_wrong_labels(
    rate: float, low: float, fewest: int, method: str, why: str
) -> None:
    found = fingerprint(NoiseEstimate(rate, low, rate + 0.06), fewest=fewest)
    chosen = {each.key: each for each in choose(found)}
    assert chosen["noise.method"].value == method
    assert why in chosen["noise.method"].reason
    assert ("noise.rate" in chosen) == (method != "none")
    assert chosen["loss.name"].value == "logit_adjustment"
    assert any("medvit labels suspects" in note for note in notes(found)) == (low > 0.05)


def test_too_few_labels_tell_nothing_of_noise() -> None:
    chosen = choose(fingerprint(None))
    noise = next(each for each in chosen if each.key == "noise.method")
    assert (noise.value, noise.reason) == ("none", "too few labels to tell how many are wrong")


@pytest.mark.parametrize(
    ("images", "backbone"), [(240, "cnn_small"), (2_400, "hybrid_small"), (9_000, "vit_small")]
)
def test_the_backbone_follows_from_the_number_of_images(images: int, backbone: str) -> None:
    found = replace(fingerprint(None), train_counts={"a": images // 2, "b": images // 2})
    chosen = {each.key: each.value for each in choose(found)}
    assert chosen["model.backbone"] == backbone
    assert "model.texture" not in chosen


def test_few_labels_on_given_weights_take_texture_and_spread_over_the_unlabelled() -> None:
    few = replace(fingerprint(None), train_counts={"a": 9, "b": 5}, unlabelled=300)
    chosen = {each.key: each for each in choose(few, start=Start("steel", "vit_tiny_stem"))}
    assert chosen["model.backbone"].value == "vit_tiny_stem"
    assert chosen["model.texture"].value is True
    assert chosen["tuning.method"].value == "prototype"
    assert chosen["tuning.prototype"].value == "spread"
    assert "300 images without one" in chosen["tuning.prototype"].reason
    alone = {each.key for each in choose(replace(few, unlabelled=0), start=Start("steel"))}
    assert "model.texture" in alone
    assert "tuning.prototype" not in alone


@pytest.mark.parametrize(("fewest", "texture"), [(5, "maps"), (40, True)])
def test_few_labels_on_imagenet_weights_leave_plain_texture_out(
    fewest: int, texture: bool | str
) -> None:
    counts = {"a": 4 * fewest, "b": fewest}
    found = replace(fingerprint(None), train_counts=counts, imbalance=4.0, unlabelled=300)
    chosen = choose(found, start=Start("imagenet-lite0", "efficientnet_lite0"))
    values = {each.key: each.value for each in chosen}
    assert values["model.backbone"] == "efficientnet_lite0"
    assert values["model.texture"] == texture


@pytest.mark.parametrize(
    ("change", "realtime", "weights", "why"),
    [
        ({}, False, "steel-defects", "did better than fresh ones"),
        ({"train_counts": {"a": 80, "b": 5}, "imbalance": 16.0}, False, "steel-defects", "did"),
        ({}, True, "none", "real time was asked for"),
        ({"grey": 10, "colour": 230}, False, "none", "import efficientnet_lite0 --channels colour"),
        ({"median_px": 900}, False, "none", "not measured on such data"),
        ({"train_counts": {"a": 2000, "b": 2000}}, False, "none", "not measured on such data"),
        ({"train_counts": {"a": 900, "b": 40}, "imbalance": 22.5}, False, "none", "not measured"),
    ],
)
def test_the_shipped_weights_are_taken_where_that_was_measured(
    change: dict[str, Any], realtime: bool, weights: str, why: str
) -> None:
    chosen, reason = shipped_weights(replace(fingerprint(None), **change), realtime=realtime)
    assert chosen == weights
    assert why in reason


def test_few_labels_beside_many_images_without_one_ask_for_a_pretraining() -> None:
    few = replace(fingerprint(None), train_counts={"a": 9, "b": 5}, unlabelled=300)
    assert any(
        "300 images have no label: one may learn from them first" in note for note in notes(few)
    )
    many = replace(few, train_counts={"a": 90, "b": 50})
    assert not any("one may learn from them first" in note for note in notes(many))


@pytest.mark.parametrize(
    ("counts", "method", "prototype"),
    [
        ({"a": 200, "b": 40}, "prototype", "kernel"),
        ({"a": 900, "b": 40}, "layer_decay", None),  # a long tail
        ({"a": 1500, "b": 1500}, "layer_decay", None),
    ],
)
def test_hundreds_of_labels_on_given_weights_take_a_kernel(
    counts: dict[str, int], method: str, prototype: str | None
) -> None:
    imbalance = counts["a"] / counts["b"]
    found = replace(fingerprint(None), train_counts=counts, imbalance=imbalance)
    chosen = {each.key: each.value for each in choose(found, start=Start("cnn", "cnn_small"))}
    assert chosen["tuning.method"] == method
    assert chosen.get("tuning.prototype") == prototype
    assert ("model.texture" in chosen) == (method == "prototype")
