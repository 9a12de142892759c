from __future__ import annotations

from pathlib import Path

import pytest

from medvit.data.annotations.table import MarkTable, read_patients
from medvit.errors import InputError
from tests.make.annotated import HEADING, write_rows


def test_rows_keep_their_lines_and_turn_from_ras(tmp_path: Path) -> None:
    file = tmp_path / "marks.csv"
    text = (
        "seriesuid,coordX,coordY,coordZ,diameter_mm,note\n\n1.2,-1.5,2,3e1,4,seen\n1.3,,,,,none\n"
    )
    file.write_text("\ufeff" + text, encoding="utf-8")
    rows = MarkTable(file).rows()
    assert [(row.line, row.scan, row.xyzd_mm) for row in rows] == [
        (3, "1.2", (-1.5, 2.0, 30.0, 4.0)),
        (4, "1.3", None),
    ]
    assert MarkTable(file, is_ras=True).rows()[0].xyzd_mm == (1.5, -2.0, 30.0, 4.0)


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    good = ("1.2", 1, 2, 3, 4)
    file = write_rows(
        tmp_path / "marks.csv",
        [good, ("1.2", "nan", 2, 3, 4), ("1.2", 1, 2, 3, 0), ("1.2", 1, 2, 3, -5), good],
    )
    with pytest.raises(InputError) as error:
        MarkTable(file).rows()
    assert error.value.message == (
        "marks.csv, line 3: coordX must be a finite number, got 'nan'; "
        "marks.csv, line 4: diameter_mm must lie above 0 and up to 300, got 0; "
        "marks.csv, line 5: diameter_mm must lie above 0 and up to 300, got -5; "
        "marks.csv, line 6: is at the place of line 2"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("1.2", 1, 2, 3, 4, 5), "line 2: 6 cells under 5 columns"),
        (("1.2", 1, 2, 3), "line 2: 4 cells under 5 columns"),
        (("", 1, 2, 3, 4), "line 2: names no scan"),
        (("1.2", 1, 2, "inf", 4), "line 2: coordZ must be a finite number, got 'inf'"),
        (("1.2", 1, "", 3, 4), "line 2: coordY must be a finite number, got ''"),
        (("1.2", 1, 2, 3, 5600), "line 2: diameter_mm must lie .* got 5600"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: tuple[object, ...], message: str) -> None:
    file = write_rows(tmp_path / "marks.csv", [row])
    with pytest.raises(InputError, match=rf"marks\.csv, {message}"):
        MarkTable(file).rows()


def test_many_faults_are_counted(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "marks.csv", [("1.2", "x", 2, 3, 4)] * 8)
    with pytest.raises(InputError, match=r"line 6: .*; and 3 more$"):
        MarkTable(file).rows()


def test_only_an_excluded_finding_may_be_unmeasured(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "marks.csv", [("1.2", 1, 2, 3, -1), ("1.2", 1, 2, 3, -1)])
    rows = MarkTable(file, may_be_unmeasured=True).rows()
    assert [row.xyzd_mm for row in rows] == [(1.0, 2.0, 3.0, 10.0)] * 2
    with pytest.raises(InputError, match="line 2: diameter_mm must lie above 0"):
        MarkTable(file).rows()


def test_columns_that_are_missing_or_double_are_named(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "marks.csv", [], [*HEADING[:4], "diameter"])
    with pytest.raises(InputError, match="column 'diameter_mm' is missing") as error:
        MarkTable(file).rows()
    assert "is 'diameter' meant?" in error.value.hint
    write_rows(file, [], [*HEADING, "coordX"])
    with pytest.raises(InputError, match="column 'coordX' is there twice"):
        MarkTable(file).rows()
    write_rows(file, [], HEADING[1:])
    with pytest.raises(InputError, match="a column seriesuid, path or file is missing"):
        MarkTable(file).rows()


def test_patients_are_read_once_for_each_scan(tmp_path: Path) -> None:
    heading = ("patient", "seriesuid")
    file = write_rows(tmp_path / "who.csv", [("a", "1.2"), ("b", "1.3"), ("a", "1.2")], heading)
    assert read_patients(file) == {"1.2": "a", "1.3": "b"}
    write_rows(file, [("a", "1.2"), ("b", "1.2"), ("", "1.4")], heading)
    with pytest.raises(InputError) as error:
        read_patients(file)
    assert error.value.message == (
        "who.csv, line 3: scan 1.2 has another patient above; "
        "who.csv, line 4: names no scan, or no patient"
    )
