from __future__ import annotations

from pathlib import Path

import pytest

from medvit.errors import InputError
from medvit.metrics.froc import Annotation, Mark
from medvit.metrics.luna16_csv import (
    read_annotation_table,
    read_annotations,
    read_mark_table,
    read_marks,
    read_series,
    read_series_table,
)

MARKS = "seriesuid,coordX,coordY,coordZ,probability"
NODULES = "seriesuid,coordX,coordY,coordZ,diameter_mm"


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode())
    return path


def test_marks_are_read_by_heading_and_not_by_place(tmp_path: Path) -> None:
    text = "probability,coordZ,coordY,coordX,seriesuid\r\n0.5,3,2,-1.25,1.2.3\r\n"
    assert read_marks(written(tmp_path, text)) == [Mark("1.2.3", -1.25, 2, 3, 0.5)]


def test_annotations_keep_the_sign_of_an_unmeasured_diameter(tmp_path: Path) -> None:
    text = "\ufeffseriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1,2,3,-1\n"
    rows = read_annotations(written(tmp_path, text), is_excluded=True)
    assert rows == [Annotation("1.2", 1, 2, 3, -1)]


def test_a_list_of_scans_may_have_a_heading_and_dos_line_ends(tmp_path: Path) -> None:
    assert read_series(written(tmp_path, "seriesuid\r\n1.2\r\n1.3\r\n\r\n")) == ["1.2", "1.3"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "seriesuid,coordX,coordY,coordZ,score\n")
    with pytest.raises(
        InputError, match=r"table.csv, line 1: column 'probability' is missing"
    ) as caught:
        read_marks(path)
    assert "seriesuid,coordX,coordY,coordZ,probability" in caught.value.hint


@pytest.mark.parametrize(("cell", "shown"), [("abc", "'abc'"), ("", "''")])
def test_a_number_that_is_none_is_named_with_its_line(
    tmp_path: Path, cell: str, shown: str
) -> None:
    text = f"seriesuid,coordX,coordY,coordZ,probability\na,1,2,3,0.5\nb,1,{cell},3,0.5\n"
    with pytest.raises(InputError, match=f"line 3: coordY must be a number, got {shown}"):
        read_marks(written(tmp_path, text))


def test_a_short_line_is_named(tmp_path: Path) -> None:
    text = "seriesuid,coordX,coordY,coordZ,probability\na,1,2\n"
    with pytest.raises(InputError, match="line 2: coordZ must be a number, got None"):
        read_marks(written(tmp_path, text))


def test_an_empty_list_of_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table.csv: no series UID in it"):
        read_series(written(tmp_path, "\n"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: cannot be read"):
        read_marks(tmp_path / "none.csv")


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "NaN", "1e999"])
@pytest.mark.parametrize("column", ["coordX", "probability"])
def test_a_number_that_is_not_finite_is_named(tmp_path: Path, cell: str, column: str) -> None:
    values = {"seriesuid": "a", "coordX": "1", "coordY": "2", "coordZ": "3", "probability": "0.5"}
    text = f"{MARKS}\r\n\r\n{','.join((values | {column: cell}).values())}\r\n"
    with pytest.raises(
        InputError, match=f"table.csv, line 3: {column} must be finite, got '{cell}'"
    ):
        read_marks(written(tmp_path, text))


@pytest.mark.parametrize(("mark", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_named(tmp_path: Path, mark: str, called: str) -> None:
    text = f"{MARKS}\na,1,2,3,0.5\n".replace(",", mark)
    with pytest.raises(
        InputError, match=f"line 1: values must be parted by commas, found {called}"
    ):
        read_marks(written(tmp_path, text))


def test_a_decimal_comma_makes_a_value_too_many(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: 5 values are expected, found 6") as caught:
        read_marks(written(tmp_path, f"{MARKS}\na,1,5,2,3,0.5\n"))
    assert "decimal comma" in caught.value.hint


def test_columns_that_are_not_used_are_noted(tmp_path: Path) -> None:
    table = read_mark_table(written(tmp_path, f"id,{MARKS},radius\n7,a,1,2,3,0.5,4\n"))
    assert table.rows == [Mark("a", 1, 2, 3, 0.5)]
    assert table.notes == ("table.csv, line 1: 'id', 'radius' not used; columns are found by name",)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: column 'coordX' is there 2 times"):
        read_marks(written(tmp_path, f"{MARKS},coordX\n"))


def test_the_same_mark_twice_is_noted_and_counts_twice(tmp_path: Path) -> None:
    row = "a,1,2,3,0.5\n"
    table = read_mark_table(written(tmp_path, f"{MARKS}\n{row}b,1,2,3,0.5\n{row}{row}"))
    assert (len(table.rows), table.lines) == (4, [2, 3, 4, 5])
    (note,) = table.notes
    wanted = "line 4: the same mark as on line 2 (2 such lines); each of them counts"
    assert note == f"table.csv, {wanted}"


def test_a_nodule_twice_is_refused_but_two_readers_may_exclude_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, f"{NODULES}\na,1,2,3,5\na,1.0,2,3,5\n")
    with pytest.raises(InputError, match="line 3: the same nodule as on line 2"):
        read_annotation_table(path)
    assert len(read_annotation_table(path, is_excluded=True).rows) == 2


@pytest.mark.parametrize("diameter", ["0", "-1", "-5"])
def test_a_nodule_has_a_positive_diameter(tmp_path: Path, diameter: str) -> None:
    path = written(tmp_path, f"{NODULES}\na,1,2,3,{diameter}\n")
    with pytest.raises(InputError, match=f"line 2: diameter_mm must be positive, got {diameter}"):
        read_annotations(path)


def test_a_mark_without_a_scan_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: seriesuid must not be empty"):
        read_marks(written(tmp_path, f"{MARKS}\n ,1,2,3,0.5\n"))


def test_a_list_of_scans_may_be_a_column_of_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, "patient,seriesuid\np1,1.2\np2,1.3\np3,\np2,1.3\n")
    table = read_series_table(path)
    assert table.rows == ["1.2", "1.3", "1.3"]
    assert table.notes == ("table.csv: series 1.3 is listed 2 times and counts once",)


def test_a_list_with_columns_but_no_heading_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: one series UID is expected, found \['b', '1'\]"):
        read_series(written(tmp_path, "a,\nb,1\n"))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(f"{MARKS}\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"table.csv: cannot be read as text"):
        read_marks(path)
