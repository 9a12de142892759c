from __future__ import annotations

from pathlib import Path

import pytest

from medvit.errors import InputError
from medvit.metrics.froc import Annotation, Mark
from medvit.metrics.luna16_csv import read_annotations, read_marks, read_series


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode())
    return path


def test_marks_are_read_by_heading_and_not_by_place(tmp_path: Path) -> None:
    text = "probability,coordZ,coordY,coordX,seriesuid\r\n0.5,3,2,-1.25,1.2.3\r\n"
    assert read_marks(written(tmp_path, text)) == [Mark("1.2.3", -1.25, 2, 3, 0.5)]


def test_annotations_keep_the_sign_of_an_unmeasured_diameter(tmp_path: Path) -> None:
    text = "\ufeffseriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1,2,3,-1\n"
    assert read_annotations(written(tmp_path, text)) == [Annotation("1.2", 1, 2, 3, -1)]


def test_a_list_of_scans_may_have_a_heading_and_dos_line_ends(tmp_path: Path) -> None:
    assert read_series(written(tmp_path, "seriesuid\r\n1.2\r\n1.3\r\n\r\n")) == ["1.2", "1.3"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "seriesuid,coordX,coordY,coordZ,score\n")
    with pytest.raises(InputError, match=r"table.csv: column 'probability' is missing") as caught:
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
