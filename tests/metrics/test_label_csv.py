from __future__ import annotations

from pathlib import Path

import pytest

from medvit.errors import InputError
from medvit.metrics.label_csv import PredictedLabel, read_labels

HEADING = "path,label,probability"


def written(folder: Path, text: str) -> Path:
    (folder / "p.csv").write_bytes(text.encode())
    return folder / "p.csv"


def test_labels_are_read_by_heading_with_plain_paths(tmp_path: Path) -> None:
    text = '\ufeffprobability,x,path,label\r\n0.5,?,.\\a\\1.png,pit\r\n\r\n1,?,"b,c.png",ash\r\n'
    assert read_labels(written(tmp_path, text)) == [
        PredictedLabel("a/1.png", "pit", 0.5, 2),
        PredictedLabel("b,c.png", "ash", 1.0, 4),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.png,pit,nan", "p.csv, line 3: probability must be finite, got 'nan'"),
        ("b.png,pit,97", "line 3: probability must be within 0..1, got '97'"),
        ("b.png,pit,-0.1", "line 3: probability must be within 0..1, got '-0.1'"),
        ("b.png,,0.5", "line 3: label must not be empty"),
        (",pit,0.5", "line 3: path must not be empty"),
        ("b.png,pit", "line 3: 3 values are expected, found 2"),
        ("./a.png,ash,0.5", r"line 3: ./a.png has a label on line 2 already"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(written(tmp_path, f"{HEADING}\na.png,pit,0.5\n{row}\n"))


def test_a_wrong_heading_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: column 'probability' is missing; found"):
        read_labels(written(tmp_path, "path,label\n"))
    with pytest.raises(InputError, match="parted by commas, found semicolons"):
        read_labels(written(tmp_path, HEADING.replace(",", ";")))
