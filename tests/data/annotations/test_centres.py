from __future__ import annotations

import logging
from pathlib import Path

import pytest

from medvit.data.annotations.centres import collect_centres
from medvit.data.annotations.collected import patient_key
from medvit.errors import InputError
from tests.make.annotated import HEADING, write_rows
from tests.make.dicom import CtSeries, write_series
from tests.make.volumes import write_metaimage

WIDE = (*HEADING, "path", "patient")
SERIES = CtSeries()


def write_scans(root: Path) -> Path:
    write_series(root / "ward" / "one", SERIES)
    for name in ("two.mha", "three.mha", "four.mha"):
        write_metaimage(root / name)
    return root


def test_a_scan_is_named_by_uid_stem_path_or_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_scans(tmp_path)
    write_rows(
        root / "annotations.csv",
        [
            (SERIES.series_uid, -9, -19, -29, 4, "", "A"),
            ("", -8, -18, -28, 4, "ward/one", ""),
            ("two", -9, 21, -30, 5, "", "B"),
            ("", -8, 22, -29, 5, "two.mha", "B"),
            ("", "", "", "", "", "three.mha", ""),
        ],
        WIDE,
    )
    with caplog.at_level(logging.WARNING):
        found = collect_centres(root)
    assert [mark.scan for mark in found.nodules] == [SERIES.series_uid] * 2 + ["two"] * 2
    assert sorted(found.cases) == sorted([SERIES.series_uid, "two", "three"])
    assert "1 of 4 scans are on no line and left out" in caplog.text
    assert found.patients == {SERIES.series_uid: patient_key("A"), "two": patient_key("B")}
    assert found.is_typed


def test_a_doubtful_name_or_two_patients_of_one_scan_are_refused(tmp_path: Path) -> None:
    root = write_scans(tmp_path)
    write_series(root / "hall" / "one", CtSeries(series_uid="1.2.7"))
    write_rows(root / "annotations.csv", [("", -9, -19, -29, 4, "one", "")], WIDE)
    with pytest.raises(InputError, match=r"annotations\.csv, line 2: 'one' means 2 scans"):
        collect_centres(root)
    rows = [("two", -9, 21, -30, 5, "", "A"), ("two", -8, 22, -29, 5, "", "B")]
    write_rows(root / "annotations.csv", rows, WIDE)
    with pytest.raises(InputError, match="line 3: scan two has another patient above"):
        collect_centres(root)


def test_findings_that_do_not_count_have_a_table_of_their_own(tmp_path: Path) -> None:
    root = write_scans(tmp_path)
    write_rows(root / "annotations.csv", [("two", -9, 21, -30, 5), ("lost", 1, 2, 3, 4)])
    excluded = write_rows(root / "others.csv", [("two", -8, 22, -29, -1), ("four", 1, 2, 3, 4)])
    found = collect_centres(root, excluded=excluded, is_ras=True)
    assert [mark.xyzd_mm for mark in found.ignored] == [(8, -22, -29, 10), (-1, -2, 3, 4)]
    assert [mark.scan for mark in found.nodules] == ["two", "lost"]  # judged by who asked
    assert list(found.cases) == ["two"]
