"""Runs and cases: saving, replacing, listing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from medvit.errors import StoreError
from medvit.io.case import Case
from medvit.store.rows import CaseFilter, Decision
from medvit.store.store import Store
from tests.make.results import ct_case, ct_result, image_result, nodule, refused


def test_a_run_keeps_what_it_was_started_with(store: Store) -> None:
    settings = {"sources": ["a"], "max_ram": None, "nested": {"x": 1.5}}
    run_id = store.start_run("scan", settings, model="a@1, b@2", model_sha256="0" * 130)
    store.finish_run(run_id, "done", {"cases": 3})
    run = store.get_run(run_id)
    assert run is not None
    assert (run.command, run.settings, run.model) == ("scan", settings, "a@1, b@2")
    assert (run.state, run.counts, run.model_sha256) == ("done", {"cases": 3}, "0" * 130)
    assert run.started_at == datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
    assert run.finished_at == datetime(2026, 1, 2, 3, 1, tzinfo=UTC)


def test_a_run_that_goes_on_has_no_end(store: Store, run_id: int) -> None:
    run = store.get_run(run_id)
    assert run is not None
    assert (run.state, run.finished_at) == ("running", None)


def test_an_unknown_run_is_none_and_cannot_end_or_save(store: Store) -> None:
    assert store.get_run(99) is None

    with pytest.raises(StoreError, match="no run '99'"):
        store.finish_run(99, "done", {})
    with pytest.raises(StoreError, match="no run '99'"):
        store.save_result(99, ct_result())


def test_runs_are_listed_from_the_newest(store: Store) -> None:
    numbers = [
        store.start_run("scan", {"task": name}, model="m@1", model_sha256="") for name in "abc"
    ]
    store.finish_run(numbers[1], "done", {"cases": 4})
    listed = store.list_runs(most=2)
    assert [(run.id, run.state, run.counts) for run in listed] == [
        (numbers[2], "running", {}),
        (numbers[1], "done", {"cases": 4}),
    ]


def test_a_case_comes_back_as_it_was_saved(store: Store, run_id: int) -> None:
    result = ct_result("a", 0.25, 0.75)
    store.save_result(run_id, result)
    row = store.get_case("ct-a")
    assert row is not None
    assert (row.kind, row.source, row.root) == ("ct", "a", Path("/data"))
    assert row.files == result.case.files
    assert (row.verdict, row.reason, row.series_uid) == ("accept", "ok", "1.2.a")
    assert (row.n_findings, row.n_reviewed, row.run_id) == (2, 0, run_id)
    assert row.scanned_at == datetime(2026, 1, 2, 3, 1, tzinfo=UTC)
    findings = [found.finding for found in store.list_findings("ct-a")]
    assert findings == [result.findings[1], result.findings[0]]


def test_saving_twice_changes_nothing(store: Store, run_id: int) -> None:
    store.save_result(run_id, ct_result("a", 0.5, 0.6))
    before = store.list_findings("ct-a")
    store.save_result(run_id, ct_result("a", 0.5, 0.6))
    assert store.list_findings("ct-a") == before
    assert store.list_cases()[1] == 1


def test_a_later_run_replaces_the_case_and_its_findings(store: Store, run_id: int) -> None:
    store.save_result(run_id, ct_result("a", 0.5, 0.6))
    later = store.start_run("scan", {}, model="m@2", model_sha256="1" * 64)
    store.save_result(later, ct_result("a", 0.7, model="m@2"))
    assert [row.finding.model for row in store.list_findings("ct-a")] == ["m@2"]
    row = store.get_case("ct-a")
    assert row is not None
    assert (row.run_id, row.n_findings) == (later, 1)


def test_an_earlier_run_that_saves_late_does_not_win(store: Store, run_id: int) -> None:
    later = store.start_run("scan", {}, model="m@2", model_sha256="1" * 64)
    store.save_result(later, ct_result("a", 0.7, model="m@2"))
    store.save_result(run_id, ct_result("a", 0.5, 0.6))
    assert [row.finding.model for row in store.list_findings("ct-a")] == ["m@2"]


def test_a_finding_is_written_once(store: Store, run_id: int) -> None:
    store.save_result(run_id, ct_result("a", 0.5))
    later = store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
    store.save_result(later, ct_result("a", 0.9))
    assert [row.finding.probability for row in store.list_findings("ct-a")] == [0.5]


def test_decisions_outlive_a_new_scan(store: Store, run_id: int) -> None:
    result = ct_result("a", 0.5)
    store.save_result(run_id, result)
    store.decide(Decision("ct-a", result.findings[0].finding_id, "reject", "Ann"))
    later = store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
    store.save_result(later, result)
    row = store.get_case("ct-a")
    assert row is not None
    assert (row.review, row.n_reviewed) == ("reviewed", 1)
    assert store.list_findings("ct-a")[0].state == "reject"


def test_more_findings_than_one_statement_holds(store: Store, run_id: int) -> None:
    case = ct_case()
    findings = tuple(nodule(case, nr=nr) for nr in range(501))
    store.save_result(run_id, replace(ct_result(), findings=findings))
    assert len(store.list_findings("ct-a")) == 501


def test_names_that_are_no_utf8_and_headers_with_nul_are_kept_readable(
    store: Store, run_id: int
) -> None:
    name = b"b\xff.png".decode("utf-8", "surrogateescape")
    case = Case("im-b", "image", name, Path("/data"), (Path("/data") / name,), "1.2\0")
    store.save_result(run_id, replace(image_result(), case=case))
    row = store.get_case("im-b")
    assert row is not None
    assert row.source == "b\\udcff.png"
    assert row.series_uid == "1.2\\x00"
    assert row.files == case.files


def test_a_result_with_a_bad_finding_writes_nothing_at_all(store: Store, run_id: int) -> None:
    case = ct_case()
    broken = replace(nodule(case), finding_id=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="finding_id"):
        store.save_result(run_id, replace(ct_result(), findings=(broken,)))
    assert store.get_case("ct-a") is None


def test_unknown_cases(store: Store) -> None:
    assert store.get_case("ct-x") is None
    assert store.list_decisions("ct-x") == []
    with pytest.raises(StoreError, match="no case 'ct-x'"):
        store.list_findings("ct-x")


def _fill(store: Store, run_id: int) -> None:
    store.save_result(run_id, ct_result("lung/b", 0.3))
    store.save_result(run_id, ct_result("lung/A", 0.9, 0.1))
    store.save_result(run_id, image_result("ÄRA_100%.png", label="scratch"))
    store.save_result(run_id, image_result("ara_1000.png", label="pit"))
    store.save_result(run_id, refused(ct_result("c")))


def _sources(store: Store, wanted: CaseFilter) -> list[str]:
    rows, total = store.list_cases(wanted)
    assert total == len(rows)
    return [row.source for row in rows]


def test_sources_are_listed_in_the_order_of_code_points(store: Store, run_id: int) -> None:
    _fill(store, run_id)
    listed = _sources(store, CaseFilter())
    assert listed == sorted(listed)
    assert len(listed) == 5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LUNG/", ["lung/A", "lung/b"]),
        ("100%", ["ÄRA_100%.png"]),
        ("ära", ["ÄRA_100%.png"]),
        ("PIT", ["ara_1000.png"]),
        ("1.2.c", ["c"]),
        ("im-ara", ["ara_1000.png"]),
        ("a_1", ["ara_1000.png", "ÄRA_100%.png"]),
        ("nothing like it", []),
    ],
)
def test_text_is_looked_for_as_it_is_typed(
    store: Store, run_id: int, text: str, found: list[str]
) -> None:
    _fill(store, run_id)
    assert _sources(store, CaseFilter(text=text)) == found


def test_filters_add_up(store: Store, run_id: int) -> None:
    _fill(store, run_id)
    assert len(_sources(store, CaseFilter(kind="image"))) == 2
    assert _sources(store, CaseFilter(verdict="refuse")) == ["c"]
    assert _sources(store, CaseFilter(kind="image", verdict="refuse")) == []
    assert len(_sources(store, CaseFilter(state="new"))) == 4
    assert _sources(store, CaseFilter(state="reviewed")) == []


def test_a_case_is_new_until_everything_is_decided(store: Store, run_id: int) -> None:
    _fill(store, run_id)
    first, second = (row.finding.finding_id for row in store.list_findings("ct-lung/A"))
    store.decide(Decision("ct-lung/A", first, "accept", "Ann"))
    assert "lung/A" in _sources(store, CaseFilter(state="new"))
    store.decide(Decision("ct-lung/A", second, "unsure", "Ann"))
    assert _sources(store, CaseFilter(state="reviewed")) == ["lung/A"]
    store.decide(Decision("ct-lung/A", second, "undo", "Ann"))
    assert _sources(store, CaseFilter(state="reviewed")) == []


def test_the_list_is_sorted_by_what_is_asked(store: Store, run_id: int) -> None:
    _fill(store, run_id)
    probable = _sources(store, CaseFilter(sort="probability"))
    assert probable[0] in ("lung/A", "ara_1000.png")
    assert probable[-2:] == ["lung/b", "c"]
    assert _sources(store, CaseFilter(sort="findings"))[:2] == ["lung/A", "lung/b"]
    assert _sources(store, CaseFilter(sort="scanned"))[0] == "c"


def test_pages_join_to_the_whole_list(store: Store, run_id: int) -> None:
    for number in range(23):
        store.save_result(run_id, image_result(f"{number:02}.png"))
    pages = [store.list_cases(limit=5, offset=start) for start in range(0, 25, 5)]
    assert {total for _, total in pages} == {23}
    names = [row.source for rows, _ in pages for row in rows]
    assert names == [f"{number:02}.png" for number in range(23)]


def test_moments_come_back_in_utc(store_url: str) -> None:
    paris = timezone(timedelta(hours=2))
    with Store.open(store_url, clock=lambda: datetime(2026, 7, 1, 12, tzinfo=paris)) as store:
        run = store.get_run(store.start_run("scan", {}, model="", model_sha256=""))
    assert run is not None
    assert run.started_at.isoformat() == "2026-07-01T10:00:00+00:00"


def test_a_clock_without_a_zone_is_refused(store_url: str) -> None:
    with (
        Store.open(store_url, clock=lambda: datetime(2026, 7, 1)) as store,
        pytest.raises(Exception, match="needs a time zone, got 2026-07-01"),
    ):
        store.start_run("scan", {}, model="", model_sha256="")


def test_many_results_at_once_are_as_one_after_the_other(
    store: Store, run_id: int, clock: Callable[[], datetime], tmp_path: Path
) -> None:
    later = store.start_run("scan", {}, model="m@2", model_sha256="1" * 64)
    store.save_result(later, ct_result("b", 0.7, model="m@2"))
    store.save_result(run_id, ct_result("c", 0.45))
    store.decide(Decision("ct-c", None, "accept", "Ann"))
    results = [
        ct_result("a", 0.5, 0.6),
        ct_result("b", 0.9),  # of an earlier run: the later one stands
        ct_result("c", 0.99),
        image_result("i.png", label="scratch"),
        refused(ct_result("d")),
        ct_result("a", 0.4),  # the same case once more: this one counts
    ]
    store.save_results(run_id, results)
    with Store.open(f"sqlite:///{tmp_path / 'other.db'}", clock=clock) as other:
        assert other.start_run("scan", {}, model="m@1, d@1", model_sha256="") == run_id
        other.start_run("scan", {}, model="m@2", model_sha256="1" * 64)
        other.save_result(later, ct_result("b", 0.7, model="m@2"))
        other.save_result(run_id, ct_result("c", 0.45))
        other.decide(Decision("ct-c", None, "accept", "Ann"))
        for result in results:
            other.save_result(run_id, result)
        told = [_told(each) for each in (store, other)]
    assert told[0] == told[1]
    assert [case_id for case_id, *_ in told[0]] == ["ct-a", "ct-b", "ct-c", "ct-d", "im-i.png"]


def _told(store: Store) -> list[tuple[object, ...]]:
    """Return all that a store says of its cases, but for when."""
    rows, _ = store.list_cases()
    return sorted(
        (
            row.case_id,
            *(row.verdict, row.label_now, row.review, row.version, row.run_id),
            [(each.finding.finding_id, each.state) for each in store.list_findings(row.case_id)],
            sorted((each.name, each.value) for each in store.signals_of(row.case_id)),
        )
        for row in rows
    )


def test_a_result_among_many_that_cannot_be_written_takes_none_in(
    store: Store, run_id: int
) -> None:
    broken = replace(ct_result("b", 0.5), ood=float("inf"))
    with pytest.raises(StoreError, match="the value of ood must be finite, got inf"):
        store.save_results(run_id, [ct_result("a", 0.5), broken])
    assert store.list_cases() == ([], 0)


def test_nothing_to_save_is_no_fault(store: Store, run_id: int) -> None:
    store.save_results(run_id, [])
    assert store.list_cases() == ([], 0)
