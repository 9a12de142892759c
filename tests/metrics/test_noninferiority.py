from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from medvit.metrics.noninferiority import (
    Bools,
    Claim,
    Draws,
    Evidence,
    Learned,
    Verdict,
    holm,
    is_better,
    share_claims,
    weigh,
)

QUICK = Draws(rounds=400)


def claims(
    challenger: Bools,
    champion: Bools,
    *,
    parts: Mapping[str, Bools] | None = None,
    groups: NDArray[np.intp] | None = None,
    draws: Draws = QUICK,
) -> tuple[Claim, ...]:
    everything = {"accuracy": np.ones(len(challenger), dtype=np.bool_)}
    named = everything | dict(parts or {})
    margins = dict.fromkeys(named, 0.05) | {"accuracy": 0.01}
    where = np.arange(len(challenger)) if groups is None else groups
    return share_claims(challenger, champion, where, parts=named, margins=margins, draws=draws)


def judged(found: tuple[Claim, ...], *learned: Learned, rare: bool = True) -> Verdict:
    evidence = Evidence(found[0], found[1:], learned)
    return weigh(evidence, holds_rare=rare, learned_recall=0.5)


def right(n: int, wrong: int, *, first: int = 0) -> Bools:
    answers = np.ones(n, dtype=np.bool_)
    answers[first : first + wrong] = False
    return answers


def test_identical_models_are_not_worse_and_not_better() -> None:
    (claim,) = claims(right(300, 20), right(300, 20))
    assert claim.difference is not None
    assert (claim.difference.low, claim.difference.high) == (0, 0)
    assert claim.standing == "not worse"
    verdict = judged((claim,))
    assert verdict.answer == "undecided"
    assert verdict.reasons == (
        "not surely better on accuracy: 0.933 to 0.933 (+0.000, +0.000 to +0.000); "
        "not enough evidence, only 0 cases were answered differently",
    )


def test_intervals_are_those_of_a_slow_bootstrap_of_groups() -> None:
    rng = np.random.default_rng(4)
    groups = rng.integers(0, 25, size=90)
    one, two = rng.random(90) < 0.9, rng.random(90) < 0.7
    part = rng.random(90) < 0.3
    found = claims(one, two, parts={"part": part}, groups=groups, draws=Draws(rounds=500, seed=3))
    names, numbers = np.unique(groups, return_inverse=True)
    again = np.random.default_rng(3)
    weights = [again.multinomial(len(names), [1 / len(names)] * len(names), size=250) for _ in "ab"]
    for claim, member in zip(found, (np.ones(90, dtype=np.bool_), part), strict=True):
        drawn = []
        for row in np.concatenate(weights):
            places = [i for i in range(90) if member[i] for _ in range(row[numbers[i]])]
            drawn.append(float(np.mean([int(one[i]) - int(two[i]) for i in places])))
        drawn.sort()
        assert claim.difference is not None
        edges = (claim.difference.low, claim.difference.high)
        assert edges == pytest.approx((drawn[floor(12.5)], drawn[floor(487.5)]))
        assert claim.difference.value == pytest.approx(one[member].mean() - two[member].mean())


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=30)
def test_swapping_the_models_turns_the_interval_round(pairs: list[tuple[bool, bool]]) -> None:
    one, two = (np.array(column) for column in zip(*pairs, strict=True))
    (there,), (back,) = claims(one, two), claims(two, one)
    assert there.difference is not None
    assert back.difference is not None
    assert there.difference.value == -back.difference.value
    assert (there.flips.gained, there.flips.lost) == (back.flips.lost, back.flips.gained)
    assert there.flips.p == back.flips.p
    assert there.difference.low <= there.difference.value <= there.difference.high


def test_cases_of_one_group_are_one_piece_of_evidence() -> None:
    gained = right(200, 10)
    alone = claims(right(200, 0), gained)[0]
    groups = np.where(np.arange(200) < 10, 0, np.arange(200))
    together = claims(right(200, 0), gained, groups=groups)[0]
    assert is_better(alone)
    assert together.difference is not None
    assert together.difference.low == 0  # the one group is missing from many draws
    assert not is_better(together)


def test_five_cases_gained_are_not_enough_and_six_are() -> None:
    five, six = (claims(right(200, 0), right(200, n))[0] for n in (5, 6))
    assert five.difference is not None
    assert five.difference.low > 0
    assert five.flips.p == 0.0625
    assert [is_better(five), is_better(six)] == [False, True]
    assert judged((five,)).answer == "undecided"
    assert "only 5 cases were answered differently" in judged((five,)).reasons[0]
    assert judged((six,)).answer == "promote"


def test_a_model_bad_on_one_rare_class_is_refused_though_better_in_all() -> None:
    rare = np.arange(300) < 12
    champion, challenger = right(300, 30, first=100), right(300, 5)
    verdict = judged(claims(challenger, champion, parts={"crack": rare}))
    assert verdict.is_better
    assert verdict.answer == "refuse"
    assert verdict.reasons[0].startswith("crack: 5 of 12 cases were lost, 1.000 to 0.583 (-0.417")
    allowed = judged(claims(challenger, champion, parts={"crack": rare}), rare=False)
    assert allowed.answer == "promote"


def test_a_rare_class_that_lost_nothing_keeps_a_better_model_waiting() -> None:
    rare = np.arange(300) < 12
    verdict = judged(claims(right(300, 0), right(300, 30, first=100), parts={"crack": rare}))
    assert verdict.answer == "undecided"
    assert verdict.reasons[0] == "too few cases to judge crack (12)"


def test_a_class_that_is_surely_worse_is_refused() -> None:
    common = np.arange(400) < 100
    challenger, champion = right(400, 20), right(400, 60, first=200)
    verdict = judged(claims(challenger, champion, parts={"hole": common}))
    assert verdict.answer == "refuse"
    assert verdict.reasons[0].startswith("worse on hole: 1.000 to 0.800")


def test_a_wide_interval_is_no_proof_of_anything() -> None:
    rng = np.random.default_rng(0)
    verdict = judged(claims(rng.random(60) < 0.8, rng.random(60) < 0.8))
    assert verdict.answer == "undecided"
    assert any("not shown to be less than 0.01 worse on accuracy" in r for r in verdict.reasons)


@pytest.mark.parametrize(
    ("hits", "cases", "answer"), [(50, 50, "promote"), (5, 5, "promote"), (3, 3, "undecided")]
)
def test_a_new_class_is_a_reason_once_it_is_surely_learned(
    hits: int, cases: int, answer: str
) -> None:
    same = claims(right(300, 20), right(300, 20))
    verdict = judged(same, Learned("scale", hits, cases))
    assert verdict.answer == answer
    if answer == "promote":
        assert verdict.reasons[0] == f"learned scale: {hits} of {cases} frozen cases named"


def test_a_new_class_that_was_not_learned_never_counts_against() -> None:
    better = claims(right(300, 0), right(300, 20))
    assert judged(better, Learned("scale", 0, 40)).answer == "promote"


def test_a_class_that_the_challenger_forgot_is_refused() -> None:
    found = claims(right(300, 0), right(300, 20))
    evidence = Evidence(found[0], (), lost={"hole": 12})
    verdict = weigh(evidence, holds_rare=True, learned_recall=0.5)
    assert verdict.answer == "refuse"
    assert verdict.reasons == ("hole is unknown to the challenger, and 12 frozen cases show it",)


def test_too_few_groups_decide_nothing() -> None:
    groups = np.arange(300) % 9
    (claim,) = claims(right(300, 0), right(300, 60), groups=groups)
    assert claim.standing == "insufficient"
    assert judged((claim,)).answer == "undecided"
    one = claims(right(300, 0), right(300, 60), groups=groups * 0)[0]
    assert one.difference is None
    assert judged((one,)).reasons[0].startswith("not surely better on accuracy: no interval")


def test_a_figure_that_is_no_share_is_better_by_its_interval_alone() -> None:
    (claim,) = claims(right(200, 0), right(200, 5))
    assert is_better(replace(claim, is_share=False))
    assert not is_better(claim)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_rule(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, own in zip(p_values, adjusted, strict=True):
        below = sorted(other for other in p_values if other <= p)
        slow = max((len(p_values) - at) * other for at, other in enumerate(below))
        assert own == pytest.approx(min(1, slow))
    assert min(adjusted) == pytest.approx(min(1, len(p_values) * min(p_values)))


def test_of_a_hundred_equal_challengers_at_most_five_are_promoted() -> None:
    rng = np.random.default_rng(2026)
    promoted = better = 0
    for _ in range(100):
        groups = rng.integers(0, 150, size=400)
        hard = rng.random(150)[groups]  # cases of a group are alike
        one, two = (rng.random(400) > 0.3 * hard for _ in "ab")
        parts = {f"class {k}": np.arange(400) % 4 == k for k in range(4)}
        verdict = judged(claims(one, two, parts=parts, groups=groups))
        promoted += verdict.answer == "promote"
        better += verdict.is_better
    assert promoted <= 5
    assert better <= 7  # 2.5 % and three standard errors


def test_a_challenger_that_is_better_is_promoted_more_often_than_not() -> None:
    rng = np.random.default_rng(7)
    answers = []
    for _ in range(30):
        champion = rng.random(600) < 0.90
        challenger = champion | (rng.random(600) < 0.5)
        answers.append(judged(claims(challenger, champion)).answer)
    assert answers.count("promote") >= 28


def test_the_exact_test_is_that_of_scipy() -> None:
    (claim,) = claims(right(100, 3), right(100, 12, first=50))
    expected = stats.binomtest(3, 15, 0.5).pvalue
    assert claim.flips.p == pytest.approx(expected)
