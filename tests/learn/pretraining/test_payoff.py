"""What is said of the worth of pretraining: by hand, groups apart, no more than is sure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medvit.learn.pretraining.payoff import (
    ALL,
    Score,
    draw_support,
    linear_probe,
    overall,
    payoffs,
    probe_accuracies,
)
from medvit.learn.pretraining.short_tuning import TuneSettings, tuned_logits
from medvit.learn.pretraining.surface_views import SurfaceViewSettings
from medvit.models.cnn import Cnn


def scores(given: list[float], plain: list[float], *, shots: int = 1) -> list[Score]:
    return [
        Score(start, "linear", shots, draw, value)
        for start, values in (("given", given), ("plain", plain))
        for draw, value in enumerate(values)
    ]


def test_gains_are_paired_by_draw() -> None:
    rows = scores([0.9, 0.7, 0.8], [0.8, 0.6, 0.6])
    found = payoffs(rows, given="given", plain="plain")[0]
    assert found.given == pytest.approx(0.8)
    assert found.plain == pytest.approx(2 / 3)
    gain = np.array([0.1, 0.1, 0.2])
    half = stats.t.ppf(0.975, 2) * gain.std(ddof=1) / 3**0.5
    assert found.low == pytest.approx(gain.mean() - half)
    assert found.high == pytest.approx(gain.mean() + half)
    assert found.verdict == "did not pay"  # the interval reaches down to -0.01


@pytest.mark.parametrize(
    ("given", "verdict", "whole"),
    [
        ([0.9, 0.8, 0.91], "paid", "paid"),
        ([0.5, 0.4, 0.51], "cost", "did not pay"),
        ([0.6, 0.9, 0.5], "did not pay", "did not pay"),
    ],
)
def test_only_what_is_sure_is_said(given: list[float], verdict: str, whole: str) -> None:
    found = payoffs(scores(given, [0.7, 0.6, 0.7]), given="given", plain="plain")
    assert found[0].verdict == verdict
    assert overall(found) == whole


def test_a_way_that_nobody_would_choose_proves_nothing() -> None:
    good = scores([0.9, 0.9, 0.9], [0.9, 0.9, 0.9])
    bad = [
        Score(one.start, "prototypes", 1, one.draw, 0.8 if one.start == "given" else 0.3)
        for one in good
    ]
    found = payoffs([*good, *bad], given="given", plain="plain")
    assert [one.verdict for one in found] == ["did not pay", "paid"]
    assert overall(found) == "did not pay"


def test_a_loss_somewhere_is_not_paid_elsewhere() -> None:
    few = scores([0.9, 0.9, 0.9], [0.5, 0.5, 0.5])
    many = scores([0.8, 0.8, 0.8], [0.9, 0.9, 0.9], shots=10)
    assert overall(payoffs([*few, *many], given="given", plain="plain")) == "did not pay"


def test_one_draw_has_no_spread() -> None:
    with pytest.raises(ValueError, match="linear with 1 shots: a spread needs two draws"):
        payoffs(scores([0.9], [0.8]), given="given", plain="plain")


@given(seed=st.integers(0, 1000), shots=st.integers(1, 3))
def test_supports_are_of_different_groups_where_there_are_so_many(seed: int, shots: int) -> None:
    labels = [0] * 6 + [1] * 6
    groups = ["a", "a", "b", "b", "c", "", "d", "e", "f", "f", "g", "g"]
    rng = np.random.default_rng(seed)
    places = draw_support(labels, groups, shots=shots, rng=rng)
    assert sorted(labels[place] for place in places) == [0] * shots + [1] * shots
    names = [groups[place] or str(place) for place in places]
    assert len({*names}) == 2 * shots
    most = draw_support(labels, groups, shots=ALL, rng=rng)
    left = {*range(12)} - {*most}
    assert left
    assert not {groups[place] for place in most} & {groups[place] for place in left}


def test_too_few_images_of_a_class_are_named() -> None:
    with pytest.raises(ValueError, match=r"3 shots need as many images .* class 1 has 2"):
        draw_support([0, 0, 0, 1, 1], [""] * 5, shots=3, rng=np.random.default_rng(0))


def test_a_linear_probe_finds_the_minimum_of_its_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator) * torch.tensor([1.0, 10.0, 0.1])
    y = (x[:, 0] + x[:, 1] / 10 > 0).long()
    rule = linear_probe(x, y, classes=2, penalty=0.1)
    sd = x.std(dim=0, correction=0).double()
    z = (x.double() - x.mean(0).double()) / sd
    weight = (rule.weight * sd[:, None]).requires_grad_()
    bias = (rule.bias + x.mean(0).double() @ rule.weight).requires_grad_()
    loss = torch.nn.functional.cross_entropy(z @ weight + bias, y) + 0.1 * weight.square().sum()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, (weight, bias))])
    assert float(gradient.abs().max()) < 1e-4
    found = probe_accuracies(x, y, x, y, mean=x.mean(dim=0))
    assert {*found} == {"prototypes", "linear"}
    assert found["linear"] > 0.9


def test_a_short_tuning_learns_and_leaves_the_backbone_alone() -> None:
    rng = np.random.default_rng(0)
    dark = rng.integers(90, 166, (12, 32, 32)).astype(np.uint8)
    dark[:6, 8:24, 8:24] = 20
    labels = torch.tensor([0] * 6 + [1] * 6)
    torch.manual_seed(0)
    net = Cnn((4, 8), blocks=1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    views = SurfaceViewSettings(32, min_area=0.9)
    how = {"views": views, "settings": TuneSettings(steps=40, batch_size=12, lr=1e-2)}
    logits = tuned_logits(net, (dark, labels), dark, **how)  # type: ignore[arg-type]
    assert (logits.argmax(dim=1) == labels).float().mean() >= 11 / 12
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    again = tuned_logits(net, (dark, labels), dark, **how)  # type: ignore[arg-type]
    assert logits.equal(again)
