"""Which items are asked for: by epoch, by phase, by process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.data import draws
from medvit.data.draws import DrawKey, FreshDraws, phase_ends, phase_of


def test_each_epoch_asks_for_items_of_its_own() -> None:
    order = FreshDraws(3)
    assert list(order) == [DrawKey(0, number) for number in (0, 1, 2)]
    order.set_epoch(2)
    assert list(order) == [DrawKey(0, number) for number in (6, 7, 8)]


def test_phases_change_where_their_shares_say() -> None:
    order = FreshDraws(2, epochs=10, shares=(0.3, 0.7))
    phases = []
    for epoch in range(10):
        order.set_epoch(epoch)
        phases.append({key.phase for key in order})
    assert phases == [{0}] * 3 + [{1}] * 7


def test_an_epoch_beyond_the_last_stays_in_the_last_phase() -> None:
    assert phase_of(12, epochs=10, shares=[0.5, 0.5]) == 1


@given(epochs=st.integers(3, 200), first=st.floats(0.2, 0.4), second=st.floats(0.2, 0.4))
def test_phases_take_turns_and_together_all_epochs(
    epochs: int, first: float, second: float
) -> None:
    shares = [first, second, 1 - first - second]
    try:
        ends = phase_ends(epochs, shares)
    except ValueError:
        assert epochs < 6
        return
    assert ends[-1] == epochs
    phases = [phase_of(epoch, epochs=epochs, shares=shares) for epoch in range(epochs)]
    assert phases == sorted(phases)
    assert set(phases) == {0, 1, 2}
    assert [phases.count(phase) for phase in range(3)] == pytest.approx(
        [share * epochs for share in shares], abs=1.0
    )


@pytest.mark.parametrize("shares", [(), (0.5, 0.6), (1.2, -0.2), (0.5,)])
def test_shares_that_are_no_whole_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="positive and sum to 1"):
        FreshDraws(4, epochs=10, shares=shares)


def test_a_phase_without_an_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 epochs give a phase of shares \[0.1, 0.9\] no epoch"):
        FreshDraws(4, epochs=2, shares=(0.1, 0.9))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_epoch_and_no_item_is_drawn_twice(
    monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    seen: list[int] = []
    for rank in range(world):
        monkeypatch.setattr(draws, "_rank_and_world", lambda rank=rank: (rank, world))
        order = FreshDraws(6)
        order.set_epoch(1)
        assert len(list(order)) == len(order) == 6 // world
        seen += [key.number for key in order]
    assert sorted(seen) == list(range(6, 12))
