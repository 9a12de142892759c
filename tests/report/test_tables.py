"""`cases.csv` and `findings.csv`, to the byte."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from medvit.report.tables import CASE_COLUMNS, write_cases, write_findings
from tests.make.results import ct_case, ct_result, image_result, nodule, refused

CASES = """\
case_id,kind,source,verdict,reason,label,probability,findings,seconds,peak_rss_mb
ct-a,ct,a,accept,ok,,,1,1.50,700.0
im-b.png,image,b.png,accept,ok,scratch,0.900000,1,0.25,300.0
im-c.png,image,c.png,refuse,truncated;bad_value,,,0,0.25,300.0
"""
FINDINGS_HEAD = (
    "case_id,kind,source,series_uid,finding_id,label,probability,x_mm,y_mm,z_mm,diameter_mm,"
    "index_z,index_y,index_x,x_min,y_min,x_max,y_max,ood,model\n"
)


def _results() -> list[CaseResult]:
    return [
        refused(image_result("c.png"), reason="truncated;bad_value"),
        image_result("b.png", box=True),
        ct_result("a", 0.5),
    ]


def _written(tmp_path: Path, results: list[CaseResult]) -> tuple[str, str]:
    write_cases(tmp_path / "cases.csv", results)
    write_findings(tmp_path / "findings.csv", results)
    return (tmp_path / "cases.csv").read_text(), (tmp_path / "findings.csv").read_text()


def test_the_columns_of_the_contract(tmp_path: Path) -> None:
    cases, findings = _written(tmp_path, [])
    assert cases == ",".join(CASE_COLUMNS) + "\n"
    assert findings == FINDINGS_HEAD


def test_a_table_to_the_byte(tmp_path: Path) -> None:
    results = _results()
    ids = [finding.finding_id for result in results for finding in result.findings]
    cases, findings = _written(tmp_path, results)
    assert cases == CASES
    assert findings == FINDINGS_HEAD + (
        f"ct-a,ct,a,1.2.a,{ids[1]},nodule,0.500000,1.000,-2.500,3.125,6.000,1,20,30,,,,,,m@1\n"
        f"im-b.png,image,b.png,,{ids[0]},scratch,0.900000,,,,,,,,1,2,11,22,,d@1\n"
    )
    assert b"\r" not in (tmp_path / "findings.csv").read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(order=st.permutations(range(3)))
def test_the_order_of_the_cases_does_not_matter(tmp_path: Path, order: list[int]) -> None:
    results = _results()
    assert _written(tmp_path, [results[i] for i in order]) == _written(tmp_path, results)


def test_findings_are_sorted_by_source_probability_and_id(tmp_path: Path) -> None:
    case = ct_case("b")
    findings = [nodule(case, nr=nr, probability=p) for nr, p in ((1, 0.2), (2, 0.9), (3, 0.9))]
    # A difference that is not printed must not decide the order.
    findings[2] = replace(findings[2], probability=0.9 + 1e-9)
    text = _written(
        tmp_path, [replace(ct_result("b"), findings=tuple(findings)), ct_result("a", 0.1)]
    )
    rows = list(csv.DictReader(io.StringIO(text[1])))
    assert [row["source"] for row in rows] == ["a", "b", "b", "b"]
    assert [row["probability"] for row in rows[1:]] == ["0.900000", "0.900000", "0.200000"]
    assert rows[1]["finding_id"] < rows[2]["finding_id"]


def test_series_of_one_folder_are_kept_apart(tmp_path: Path) -> None:
    late, early = ct_result("a", 0.9), ct_result("a", 0.1)
    early = replace(early, case=replace(early.case, series_uid="1.1", case_id="ct-z"))
    assert _written(tmp_path, [late, early])[0].splitlines()[1].startswith("ct-z")


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("=cmd|' /C calc'!A0.png", "./=cmd|' /C calc'!A0.png"),
        ("+1.png", "./+1.png"),
        ("-1.png", "./-1.png"),
        ("@SUM(A1).png", "./@SUM(A1).png"),
        ("\ttab.png", "./\ttab.png"),
        ("a=b.png", "a=b.png"),
        ('quote",comma.png', 'quote",comma.png'),
        ("line\nbreak.png", "line\nbreak.png"),
        ("Größe ☃.png", "Größe ☃.png"),
        (b"\xff.png".decode("utf-8", "surrogateescape"), "\\udcff.png"),
    ],
)
def test_no_name_is_run_as_a_formula_or_breaks_a_row(
    tmp_path: Path, source: str, written: str
) -> None:
    case = Case("im-1", "image", source, Path("/data"), (Path("/data/x"),))
    write_cases(tmp_path / "cases.csv", [replace(image_result(), case=case)])
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["source"] == written


def test_a_label_that_looks_like_a_formula_gets_an_apostrophe(tmp_path: Path) -> None:
    cases, _ = _written(tmp_path, [image_result(label="=HYPERLINK(1)")])
    assert ",'=HYPERLINK(1)," in cases


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused_and_the_old_table_stays(
    tmp_path: Path, value: float
) -> None:
    before = _written(tmp_path, _results())
    result = ct_result("a", 0.5)
    broken = replace(result.findings[0], x_mm=value)
    with pytest.raises(ValueError, match=f"{broken.finding_id}: x_mm must be finite, got"):
        write_findings(tmp_path / "findings.csv", [replace(result, findings=(broken,))])
    with pytest.raises(ValueError, match="ct-a: seconds must be finite"):
        write_cases(tmp_path / "cases.csv", [replace(result, seconds=value)])
    assert ((tmp_path / "cases.csv").read_text(), (tmp_path / "findings.csv").read_text()) == before


def test_a_missing_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_cases(tmp_path / "missing" / "cases.csv", [])
