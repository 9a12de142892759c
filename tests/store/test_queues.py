"""Queues, claims, signals and the next case: what a reader is given to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medvit.errors import StoreError
from medvit.store.rows import CaseFilter, CaseSignal, Decision, Queue, Sort
from medvit.store.store import Store
from tests.make.results import ct_result


@pytest.fixture
def cases(store: Store, run_id: int) -> list[str]:
    """Return cases ct-0 to ct-4, each with one nodule, saved in this order."""
    for number, probability in enumerate((0.9, 0.55, 0.05, 0.7, 0.99)):
        store.save_result(run_id, ct_result(f"{number}", probability))
    return [f"ct-{number}" for number in range(5)]


def ids(store: Store, queue: Queue, *, reader: str = "") -> list[str]:
    rows, total = store.list_cases(CaseFilter(queue=queue, reader=reader))
    assert total == len(rows) == store.list_cases(CaseFilter(queue=queue, reader=reader))[1]
    return [row.case_id for row in rows]


def accept(store: Store, case_id: str, reader: str = "Ann") -> None:
    store.decide(Decision(case_id, None, "accept", reader))


def test_uncertain_cases_come_in_by_the_scan_and_leave_by_a_decision(
    store: Store, run_id: int, cases: list[str]
) -> None:
    assert ids(store, "uncertain") == ["ct-1", "ct-3"]
    (signal,) = store.signals_of("ct-1")
    assert signal.value == pytest.approx(0.9)
    assert "0.55 to 'nodule'" in signal.reason
    accept(store, "ct-1")
    assert ids(store, "uncertain") == ["ct-3"]
    store.save_result(run_id, ct_result("3", 0.95))
    assert ids(store, "uncertain") == []


def test_new_and_oldest_are_two_orders_of_what_waits(store: Store, cases: list[str]) -> None:
    accept(store, "ct-2")
    assert ids(store, "new") == ["ct-4", "ct-3", "ct-1", "ct-0"]
    assert ids(store, "oldest") == ["ct-0", "ct-1", "ct-3", "ct-4"]


def test_a_suspect_label_comes_back_after_a_review_and_leaves_by_the_next(
    store: Store, cases: list[str]
) -> None:
    accept(store, "ct-0")
    row = CaseSignal("ct-0", "suspect_label", 0.9, "Its nearest neighbours are called scar.")
    store.put_signals([row, CaseSignal("ct-4", "suspect_label", 0.95, "Also.")])
    assert ids(store, "suspect_label") == ["ct-4", "ct-0"]
    accept(store, "ct-0")
    assert ids(store, "suspect_label") == ["ct-4"]
    store.put_signals([row], replacing=["suspect_label"])
    assert ids(store, "suspect_label") == ["ct-0"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (CaseSignal("ct-9", "ood", 1.0, "far"), r"1 cases .* not in the store: \['ct-9'\]"),
        (CaseSignal("ct-0", "ood", float("inf"), "far"), "the value of ood must be finite"),
        (CaseSignal("ct-0", "ood", 1.0, " "), "the reason of ood has 1 to 1000 characters: 1"),
        (CaseSignal("ct-0", "odd", 1.0, "far"), "a signal is one of .*, got 'odd'"),  # type: ignore[arg-type]
    ],
)
def test_a_signal_that_breaks_a_rule_leaves_all_as_they_were(
    store: Store, cases: list[str], row: CaseSignal, words: str
) -> None:
    store.put_signals([CaseSignal("ct-0", "ood", 2.0, "far")])
    with pytest.raises(StoreError, match=words):
        store.put_signals([CaseSignal("ct-1", "ood", 2.0, "far"), row], replacing=["ood"])
    assert ids(store, "ood") == ["ct-0"]


def test_going_on_to_a_case_lets_go_of_the_one_before(store: Store, cases: list[str]) -> None:
    store.claim("ct-0", "Ann", minutes=600)
    store.claim("ct-2", "Ben", minutes=600)
    assert store.claim("ct-1", "Ann", let_go="ct-0").reader == "Ann"
    assert set(store.claims_of(*cases)) == {"ct-1", "ct-2"}
    assert store.claim("ct-2", "Ann", let_go="ct-1").reader == "Ben"
    assert {*store.claims_of(*cases)} == {"ct-2"}
    assert store.claim("ct-1", "Ann", let_go="ct-2").reader == "Ann"
    assert store.claims_of("ct-2")["ct-2"].reader == "Ben"  # nobody lets go for another


def test_a_claim_stands_until_it_runs_out_or_is_taken_over(store: Store, cases: list[str]) -> None:
    first = store.claim("ct-0", "Ann", minutes=3.5)
    assert (first.reader, first.expires_at - first.claimed_at) == ("Ann", timedelta(minutes=3.5))
    assert store.claim("ct-0", "Ben").reader == "Ann"
    assert store.claims_of("ct-0", "ct-1") == {"ct-0": first}
    renewed = store.claim("ct-0", "Ann", minutes=3.5)
    assert renewed.claimed_at == first.claimed_at
    assert renewed.expires_at > first.expires_at
    taken = store.claim("ct-0", "Ben", take_over=True)
    assert (taken.reader, taken.taken_from) == ("Ben", "Ann")
    (line,) = [row for row in store.list_audit() if row.deed == "take_over"]
    assert (line.reader, line.subject, line.details) == ("Ben", "ct-0", {"from": "Ann"})
    store.release("ct-0", "Ann")
    assert store.claims_of("ct-0")["ct-0"].reader == "Ben"
    store.claim("ct-1", "Ann", minutes=1.5)
    assert store.claims_of("ct-1")
    assert store.claim("ct-1", "Ben").reader == "Ben"
    with pytest.raises(StoreError, match="no case 'ct-9'"):
        store.claim("ct-9", "Ann")


def test_next_leaves_out_what_others_hold_and_what_was_skipped(
    store: Store, cases: list[str]
) -> None:
    store.claim("ct-1", "Ben", minutes=600)
    store.decide(Decision("ct-2", None, "skip", "Ann"))
    mine = CaseFilter(queue="oldest", reader="Ann")
    walked = ["ct-0"]
    for _ in range(3):
        row = store.next_case(mine, walked[-1])
        assert row is not None
        walked.append(row.case_id)
    assert walked == ["ct-0", "ct-3", "ct-4", "ct-0"]
    assert ids(store, "oldest", reader="Ben") == cases
    for case_id in ("ct-3", "ct-4"):
        accept(store, case_id)
    assert store.next_case(mine, "ct-0") is None


@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    queue=st.sampled_from(["", *get_args(Queue)]),
    sort=st.sampled_from(get_args(Sort)),
    values=st.lists(st.sampled_from([0.5, 0.6, 0.7]), min_size=5, max_size=5),
)
def test_walking_by_next_gives_the_pages_of_the_list(
    store: Store, run_id: int, queue: Queue, sort: Sort, values: list[float]
) -> None:
    for number, value in enumerate(values):
        store.save_result(run_id, ct_result(f"{number}", value))
    signals = [CaseSignal(f"ct-{n}", "priority", value, "now") for n, value in enumerate(values)]
    store.put_signals(signals)
    wanted = CaseFilter(queue=queue, sort=sort)
    rows, _ = store.list_cases(wanted)
    listed = [row.case_id for row in rows]
    walked = []
    for case_id in listed:
        row = store.next_case(wanted, case_id)
        walked.append("" if row is None else row.case_id)
    assert walked == [*listed[1:], *listed[:1]]


def test_who_may_not_see_names_cannot_search_for_them(store: Store, cases: list[str]) -> None:
    _, seen = store.list_cases(CaseFilter(text="1.2.3"))
    _, hidden = store.list_cases(CaseFilter(text="1.2.3", names=False))
    _, by_id = store.list_cases(CaseFilter(text="ct-3", names=False))
    assert (seen, hidden, by_id) == (1, 0, 1)


def test_progress_and_agreement_add_up_by_hand(store: Store, cases: list[str]) -> None:
    # Ann: accept accept reject reject; Ben: accept reject reject reject. p_o 3/4, p_e 1/2.
    for case_id, ann, ben in zip(cases, "aarr", "arrr", strict=False):
        for reader, word, seconds in (("Ann", ann, 4.0), ("Ben", ben, None)):
            action = "accept" if word == "a" else "reject"
            store.decide(Decision(case_id, None, action, reader, seconds=seconds))  # type: ignore[arg-type]
    store.decide(Decision("ct-4", None, "unsure", "Ann", seconds=9.0))
    store.decide(Decision("ct-4", None, "skip", "Ben"))
    (pair,) = store.agreement()
    assert (pair.readers, pair.shared, pair.equal) == (("Ann", "Ben"), 4, 3)
    assert pair.kappa == pytest.approx(0.5)
    done = store.reader_progress(since=datetime(2026, 1, 2, 3, 13, tzinfo=UTC))
    assert [(row.reader, row.decided, row.seconds) for row in done] == [
        ("Ann", 5, 5.0),
        ("Ben", 4, None),
    ]
    assert [row.since for row in done] == [1, 1]
    assert store.count_cases() == {"cases": 5, "reviewed": 5, "accept": 5}
    lengths = store.queue_lengths()
    assert (lengths["disagreement"], lengths["new"], lengths["uncertain"]) == (1, 0, 0)
