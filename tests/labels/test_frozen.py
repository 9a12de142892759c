"""What is frozen stays frozen, whatever is added."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.labels.frozen import FreezeSettings, Placed, choose_splits

CASES = st.lists(
    st.tuples(st.sampled_from(("dent", "rust")), st.integers(0, 14)), min_size=1, max_size=60
)


def placed(rows: list[tuple[str, int]], splits: dict[str, str] | None = None) -> list[Placed]:
    known = splits or {}
    return [
        Placed(f"c{at}", label, f"g{group}", known.get(f"c{at}"))  # type: ignore[arg-type]
        for at, (label, group) in enumerate(rows)
    ]


@given(CASES, CASES)
def test_adding_cases_moves_no_other_and_splits_no_group(
    old: list[tuple[str, int]], new: list[tuple[str, int]]
) -> None:
    before = choose_splits(placed(old))
    cases = placed([*old, *new], dict(before))
    after = choose_splits(cases)
    assert {name: after[name] for name in before} == before
    sides: dict[str, set[str]] = {}
    for case in cases:
        sides.setdefault(case.group, set()).add(after[case.name])
    assert all(len(own) == 1 for own in sides.values())


def test_a_class_is_learnt_from_before_any_of_it_is_kept_back() -> None:
    five = [Placed(f"n{at}", "new", f"g{at}") for at in range(5)]
    assert {*choose_splits(five).values()} == {"train"}
    twenty = [Placed(f"n{at}", "new", f"g{at}") for at in range(20)]
    assert Counter(choose_splits(twenty).values()) == {"train": 12, "test": 5, "val": 3}


def test_what_was_learnt_from_and_overlaps_a_frozen_case_is_left_out() -> None:
    cases = [Placed("a", "dent", "g", "test"), Placed("b", "dent", "g", "train")]
    assert choose_splits([*cases, Placed("c", "dent", "g")]) == {"a": "test", "b": "", "c": "test"}


def test_shares_that_leave_nothing_to_learn_from_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got test 0.7, val 0.3"):
        FreezeSettings(test=0.7, val=0.3)
