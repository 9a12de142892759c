"""The card of a nodule, and its row in `nodules.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from medvit.findings.nodule import DETAIL_COLUMNS, NoduleDetail
from medvit.report.html import report
from medvit.report.nodule_card import nodule_card
from medvit.report.nodule_table import NODULE_COLUMNS, write_nodules
from tests.make.results import ct_case, ct_result, nodule
from tests.report.test_html import SUMMARY

PICTURE = "data:image/png;base64,AAAA"
DETAIL = NoduleDetail(
    finding_id="f-1",
    score=0.75,
    score_spread=0.0625,
    diameter_from="measured",
    measured_mm=6.04,
    network_mm=7.5,
    doubt="",
    median_hu=-612.4,
    texture="ground_glass",
    calcified=False,
    side="left",
    third="upper",
    pleura_mm=3.26,
    slice_number=2,
    instance_number=43,
    frame=1,
    slice_location_mm=-115.0,
)


def test_a_card_says_what_was_measured_and_where() -> None:
    html = nodule_card(3, nodule(ct_case()), PICTURE, DETAIL)
    for words in (
        "<b>3. nodule</b>",
        "6.0 mm, measured (network 7.5 mm)",
        "ground-glass (-612 HU)",
        "left lung, upper third",
        "3.3 mm",
        "0.06",
        "2 (DICOM instance 43)",
        "1.0, -2.5, 3.1",
    ):
        assert words in html


def test_a_card_says_when_the_network_had_to_be_believed() -> None:
    doubtful = replace(
        DETAIL, diameter_from="network", doubt="no_edge", texture="", side="", third=""
    )
    html = nodule_card(1, nodule(ct_case()), PICTURE, replace(doubtful, pleura_mm=0.2))
    assert "6.0 mm, network&#x27;s estimate (runs into a vessel or the wall)" in html
    assert html.count("not told") == 2
    assert "touches" in html


def test_strange_words_are_escaped_on_the_card_and_in_the_report() -> None:
    result = ct_result("a", 0.5)
    (found,) = result.findings
    strange = replace(found, label="<script>alert(1)</script>")
    detail = replace(DETAIL, finding_id=found.finding_id, doubt="<b>", diameter_from="network")
    page = report(
        [replace(result, findings=(strange,))],
        SUMMARY,
        {found.finding_id: PICTURE},
        {found.finding_id: detail},
    )
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "(&lt;b&gt;)" in page
    assert "DICOM instance 43" in page


def test_every_nodule_has_a_row_in_the_order_of_the_findings(tmp_path: Path) -> None:
    results = [ct_result("b", 0.2, 0.9), ct_result("a", 0.5)]
    details = {
        each.finding_id: replace(DETAIL, finding_id=each.finding_id)
        for result in results
        for each in result.findings
    }
    path = tmp_path / "nodules.csv"
    write_nodules(path, results, details)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == NODULE_COLUMNS
    assert set(DETAIL_COLUMNS) <= set(NODULE_COLUMNS)
    assert [(row["source"], row["number"]) for row in rows] == [("a", "1"), ("b", "1"), ("b", "2")]
    assert [row["probability"] for row in rows] == ["0.500000", "0.900000", "0.200000"]
    assert rows[0]["calcified"] == "no"
    assert rows[0]["median_hu"] == "-612"
    assert rows[0]["pleura_mm"] == "3.26"
    write_nodules(path, results[:1], {})
    assert path.read_text(encoding="utf-8") == ",".join(NODULE_COLUMNS) + "\n"


def test_a_number_that_is_none_is_named(tmp_path: Path) -> None:
    result = ct_result("a", 0.5)
    name = result.findings[0].finding_id
    details = {name: replace(DETAIL, finding_id=name, score=float("nan"))}
    with pytest.raises(ValueError, match=f"{name}: score must be finite, got nan"):
        write_nodules(tmp_path / "nodules.csv", [result], details)
