"""Tickets for pixels: given to a tab, void after signing out or a long night."""

from __future__ import annotations

from apps.review.tickets import LASTS_S, Tickets


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_tab_keeps_its_ticket_and_what_it_may_see_follows_the_role() -> None:
    tickets = Tickets()
    first = tickets.give("", sees_names=False)
    assert tickets.give(first, sees_names=True) == first
    admitted = tickets.admit(first)
    assert admitted is not None
    assert admitted.sees_names
    assert tickets.give("", sees_names=False) != first


def test_who_signed_out_is_a_stranger() -> None:
    tickets = Tickets()
    mine, other = (tickets.give("", sees_names=True) for _ in range(2))
    tickets.void(mine)
    assert tickets.admit(mine) is None
    assert tickets.admit(other) is not None
    assert tickets.give(mine, sees_names=True) != mine


def test_a_ticket_lasts_from_its_last_use() -> None:
    clock = Clock()
    tickets = Tickets(clock=clock)
    used, unused = (tickets.give("", sees_names=True) for _ in range(2))
    clock.now += LASTS_S
    assert tickets.admit(used) is not None
    clock.now += 1.0
    assert tickets.admit(unused) is None
    assert tickets.admit(used) is not None


def test_of_too_many_the_one_that_was_used_longest_ago_goes() -> None:
    tickets = Tickets(most=3)
    first, second, third = (tickets.give("", sees_names=True) for _ in range(3))
    tickets.admit(first)
    tickets.give("", sees_names=True)
    assert tickets.admit(second) is None
    assert None not in (tickets.admit(first), tickets.admit(third))


def test_a_ticket_that_was_never_given_is_not_taken_over() -> None:
    tickets = Tickets()
    assert tickets.give("made up by a browser", sees_names=True) != "made up by a browser"
    assert tickets.admit("made up by a browser") is None
