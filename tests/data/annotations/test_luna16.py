from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from medvit.data.annotations.luna16 import collect_luna16
from medvit.errors import InputError
from tests.make.annotated import uid, write_luna16

ROWS = [(uid(3), -9, 21, -30, 5.5), (uid(0), -8, 22, -28, 4)]


def test_subsets_are_folds_and_findings_keep_their_lines(tmp_path: Path) -> None:
    root = write_luna16(tmp_path / "luna", ROWS, excluded=[(uid(1), -9, 21, -30, -1)])
    found = collect_luna16(root)
    assert dict(found.fold_of) == {uid(n): n for n in range(10)} == {u: n for n, u in UIDS}
    assert set(found.cases) == set(found.fold_of)
    assert [(mark.scan, mark.xyzd_mm, mark.source) for mark in found.nodules] == [
        (uid(3), (-9.0, 21.0, -30.0, 5.5), "annotations.csv, line 2"),
        (uid(0), (-8.0, 22.0, -28.0, 4.0), "annotations.csv, line 3"),
    ]
    assert [(mark.scan, mark.xyzd_mm[3]) for mark in found.ignored] == [(uid(1), 10.0)]
    assert found.cases[uid(4)].files == (root / "subset4" / f"{uid(4)}.mhd",)


UIDS = [(n, uid(n)) for n in range(10)]


def test_a_folder_without_excluded_findings_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_luna16(tmp_path / "luna", ROWS, excluded=None)
    with caplog.at_level(logging.WARNING):
        assert collect_luna16(root).ignored == ()
    assert "no annotations_excluded.csv" in caplog.text


def test_a_missing_subset_or_table_or_a_scan_twice_is_named(tmp_path: Path) -> None:
    root = write_luna16(tmp_path / "luna", ROWS)
    for suffix in (".mhd", ".raw"):
        file = root / "subset0" / f"{uid(0)}{suffix}"
        shutil.copy(file, root / "subset7" / file.name)
    with pytest.raises(InputError, match=f"scan {uid(0)} is there twice"):
        collect_luna16(root)
    shutil.rmtree(root / "subset7")
    with pytest.raises(InputError, match="no folder subset7 in luna"):
        collect_luna16(root)
    (root / "annotations.csv").unlink()
    write_luna16(tmp_path / "other", ROWS)
    with pytest.raises(InputError, match="cannot be read as text"):
        collect_luna16(tmp_path / "other", annotations=root / "annotations.csv")


@pytest.mark.shared_data
def test_the_real_tables_are_read_whole(tmp_path: Path, shared_data: Path) -> None:
    root = write_luna16(tmp_path / "luna")
    tables = shared_data / "ct" / "luna16"
    found = collect_luna16(
        root,
        annotations=tables / "annotations.csv",
        excluded=tables / "annotations_excluded.csv",
    )
    assert len(found.nodules) == 1186
    assert len(found.ignored) == 35_192
    assert sum(mark.xyzd_mm[3] == 10.0 for mark in found.ignored) == 30_513
    assert len({mark.scan for mark in found.nodules}) == 601
