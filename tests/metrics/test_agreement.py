"""Cohen's kappa: by hand, and beside scikit-learn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.metrics.agreement import cohen_kappa

ANSWERS = st.tuples(st.sampled_from("abc"), st.sampled_from("abc"))


@pytest.mark.slow
@given(pairs=st.lists(ANSWERS, min_size=1, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    ours = cohen_kappa(pairs)
    if len({answer for pair in pairs for answer in pair}) == 1:
        assert ours is None
    else:
        first, second = zip(*pairs, strict=True)
        assert ours == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def test_kappa_needs_a_question() -> None:
    assert cohen_kappa([]) is None
