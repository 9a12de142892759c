"""Several readers, one answer: by hand, against enumeration, and where they cannot agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.labels.consensus import Vote, reader_skills, settle


def votes(item: str, **answers: str) -> list[Vote]:
    return [Vote(item, reader, answer) for reader, answer in answers.items()]


def test_two_against_one_by_hand() -> None:
    skills = dict.fromkeys(("ann", "ben", "cleo"), 0.8)
    (verdict,) = settle(votes("a", ann="dent", ben="dent", cleo="rust"), skills).values()
    # 0.8 * 0.8 * 0.2 against 0.2 * 0.2 * 0.8: four to one.
    assert (verdict.answer, verdict.is_settled) == ("dent", True)
    assert verdict.confidence == pytest.approx(0.8)
    assert verdict.votes == {"dent": 2, "rust": 1}


def test_equal_readers_that_disagree_settle_nothing() -> None:
    given = votes("a", ann="dent", ben="rust")
    for method in ("weighted", "majority"):
        (verdict,) = settle(given, reader_skills(given), method=method).values()
        assert verdict.confidence == pytest.approx(0.5)
        assert not verdict.is_settled


def test_a_reader_whom_the_others_contradict_weighs_less() -> None:
    together = [
        vote
        for number in range(20)
        for vote in votes(f"i{number}", ann="dent", ben="dent", odd="rust")
    ]
    skills = reader_skills(together)
    assert skills["ann"] > 0.9
    assert skills["odd"] < 0.3
    (verdict,) = settle(votes("x", ann="dent", odd="rust"), skills).values()
    assert (verdict.answer, verdict.is_settled) == ("dent", True)
    (alone,) = settle(votes("x", odd="rust"), skills).values()
    assert not alone.is_settled


@given(
    st.dictionaries(
        st.sampled_from("abcde"), st.sampled_from(("dent", "rust", "slag")), min_size=1
    ),
    st.lists(st.floats(0.3, 0.95), min_size=5, max_size=5),
)
def test_the_confidence_is_that_of_all_possible_truths(
    given: Mapping[str, str], chances: list[float]
) -> None:
    skills = dict(zip("abcde", chances, strict=True))
    (verdict,) = settle(votes("x", **given), skills).values()
    answers = sorted({*given.values()} | ({"other"} if len({*given.values()}) == 1 else set()))
    others = max(1, len({*given.values()}) - 1)
    truths = {
        truth: math.prod(
            skills[r] if said == truth else (1 - skills[r]) / others for r, said in given.items()
        )
        for truth in answers
    }
    assert verdict.confidence == pytest.approx(
        max(truths[answer] for answer in given.values()) / sum(truths.values())
    )


def test_skills_are_found_again_from_simulated_readers() -> None:
    rng = np.random.default_rng(4)
    true = {"ann": 0.95, "ben": 0.85, "cleo": 0.65, "dan": 0.8}
    names = ("dent", "rust", "slag")
    given = []
    for item, (reader, skill) in itertools.product(range(600), true.items()):
        truth = item % 3
        wrong = (truth + 1 + int(rng.integers(2))) % 3
        given.append(Vote(f"i{item}", reader, names[truth if rng.random() < skill else wrong]))
    found = reader_skills(given)
    assert all(abs(found[name] - skill) < 0.05 for name, skill in true.items()), found


def test_a_reader_votes_once() -> None:
    with pytest.raises(ValueError, match="'ann' twice on 'a'"):
        settle([Vote("a", "ann", "dent")] * 2, {"ann": 0.8})
