"""The parity gate on networks that are off in one known way each."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from medvit.export.parity import Parity, Side, compare, count_same, wilson
from medvit.export.sidecar import GreyInput, HuInput, Rule

IMAGES = [
    np.random.default_rng(number).random((8, 8, 3), dtype=np.float32) * 0.5 for number in range(6)
]
WEIGHT = torch.linspace(-0.05, 0.05, 3 * 64).view(3, 64)
RULE = Rule(classes=("ash", "slag", "scratch"), temperature=0.7, threshold=0.6)


def linear(weight: Tensor = WEIGHT) -> Side:
    return Side(GreyInput(side_px=8).prepare, lambda x: (x.flatten(1) @ weight.T,), RULE)


def faults(exported: Side, *, quantised: bool = False) -> list[str]:
    return compare(linear(), exported, IMAGES).faults(quantised=quantised)


def test_a_network_that_is_its_own_copy_passes() -> None:
    parity = compare(linear(), linear(), IMAGES)
    assert parity.faults(quantised=False) == []
    assert (parity.cases, parity.decisions, parity.flips) == (6, 6, 0)
    assert parity.difference < 1e-6
    report = json.loads(json.dumps(parity.as_json(), allow_nan=False))
    assert report["latency_ms"]["source"]["p50"] <= report["latency_ms"]["source"]["p95"]


def test_altered_weights_fail_by_their_difference() -> None:
    weight = WEIGHT.clone()
    weight[0, 0] += 0.01
    (fault,) = [each for each in faults(linear(weight)) if "outputs differ" in each]
    most = 0.01 * max(float(image[0, 0].mean()) for image in IMAGES)
    assert f"outputs differ by {most:.2e}" in fault


@pytest.mark.parametrize(
    "change",
    [{"threshold": None}, {"temperature": 1.0}, {"classes": ("slag", "ash", "scratch")}],
    ids=["threshold lost", "temperature lost", "classes swapped"],
)
def test_another_rule_fails_though_the_outputs_are_the_same(change: dict[str, object]) -> None:
    found = faults(replace(linear(), rule=RULE.model_copy(update=change)))
    assert "classes, temperature or threshold are not those of the model's card" in found


def test_a_lost_threshold_flips_the_decisions_between() -> None:
    shares = [float((linear().run(linear().prepare(i))[0] / 0.7).softmax(1).max()) for i in IMAGES]
    high = RULE.model_copy(update={"threshold": sum(sorted(shares)[2:4]) / 2})
    source = replace(linear(), rule=high)
    lost = replace(linear(), rule=high.model_copy(update={"threshold": None}))
    assert compare(source, lost, IMAGES).flips == 3


@pytest.mark.parametrize("mean_std", [(0.5, 1.0), (0.0, 0.5)], ids=["mean", "std"])
def test_another_normalisation_of_images_fails(mean_std: tuple[float, float]) -> None:
    mean, std = mean_std
    other = replace(linear(), prepare=lambda p: GreyInput(side_px=8).prepare((p - mean) / std))
    assert any("outputs differ by" in each for each in faults(other))


def test_another_range_of_hu_fails() -> None:
    tile = np.linspace(-1200, 600, 6**3, dtype=np.float32).reshape(6, 6, 6)
    own = HuInput(spacing_mm=1, side=6, low_hu=-1000, high_hu=400)
    rule = Rule(classes=("nodule",), threshold=0.5, stride=2)

    def side(form: HuInput) -> Side:
        def run(x: Tensor) -> tuple[Tensor, ...]:
            heat = torch.nn.functional.avg_pool3d(x, 2)
            return heat, heat * 0, heat.expand(-1, 3, -1, -1, -1) * 0

        return Side(form.prepare, run, rule)

    assert compare(side(own), side(own), [tile]).faults(quantised=False) == []
    other = own.model_copy(update={"high_hu": 600})
    assert "outputs differ by" in compare(side(own), side(other), [tile]).faults(quantised=False)[0]


def test_a_batch_that_mixes_its_cases_fails() -> None:
    mixing = replace(
        linear(), run=lambda x: ((x - x.mean(0) * (len(x) > 1)).flatten(1) @ WEIGHT.T,)
    )
    assert any("outputs differ by" in each for each in faults(mixing))


def test_numbers_that_are_not_finite_fail_for_int8_too() -> None:
    broken = replace(linear(), run=lambda x: (x.flatten(1) @ WEIGHT.T * math.nan,))
    found = faults(broken, quantised=True)
    assert "outputs are not finite, or have another shape" in found
    parity = compare(linear(), broken, IMAGES)
    assert parity.as_json()["max_abs_diff"] is None


def test_int8_may_differ_but_not_decide_otherwise() -> None:
    assert faults(linear(WEIGHT * 1.001), quantised=True) == []
    found = faults(linear(-WEIGHT), quantised=True)
    assert any("6 of 6 decisions changed, at most 0.5% may" in each for each in found)


def test_nothing_to_compare_fails() -> None:
    assert compare(linear(), linear(), []).faults(quantised=False) == [
        "there was no case to compare"
    ]


def test_one_flip_in_two_hundred_is_what_int8_may() -> None:
    parity = Parity(200, 0.0, 0.0, 200, 1, (1.0,), (1.0,), same_rule=True)
    assert parity.faults(quantised=True) == []
    assert parity.faults(quantised=False) == ["1 of 200 decisions changed, at most 0.0% may"]
    assert replace(parity, flips=2).faults(quantised=True) != []


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 0.0188), (5, 0.0107, 0.0572)])
def test_the_interval_is_wilsons(count: int, low: float, high: float) -> None:
    assert wilson(count, 200) == pytest.approx((low, high), abs=2e-4)


def test_marks_are_the_same_from_nine_tenths_overlap() -> None:
    mark = (10.0, 10.0, 10.0, 10.0)
    near, far = (10.5, 10.0, 10.0, 10.0), (10.6, 10.0, 10.0, 10.0)  # 9.5 / 10.5, 9.4 / 10.6
    assert count_same([mark], [near]) == 1
    assert count_same([mark], [far]) == 0
    assert count_same([mark, mark], [mark]) == 1


def test_marks_are_decided_at_the_peaks_above_the_threshold() -> None:
    heat = torch.full((1, 1, 4, 4, 4), -3.0)
    heat[0, 0, 1, 2, 3], heat[0, 0, 1, 2, 2], heat[0, 0, 3, 0, 0] = 2.0, 1.0, -1.0
    offset = torch.zeros(1, 3, 4, 4, 4)
    offset[0, 2, 1, 2, 3] = 0.25
    rule = Rule(classes=("nodule",), threshold=0.5, stride=2)
    log_diameter = torch.full_like(heat, math.log(6.0))
    (mark,) = rule.decide((heat, log_diameter, offset))
    assert mark == pytest.approx((2.5, 4.5, 7.0, 6.0))
    with pytest.raises(ValueError, match="a detector needs a threshold, got none"):
        Rule(classes=("nodule",), stride=2)
