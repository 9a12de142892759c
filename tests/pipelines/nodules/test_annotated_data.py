from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.data.annotated import UNMEASURED_DIAMETER_MM
from medvit.errors import InputError
from medvit.io.scratch import Scratch
from pipelines.config import check_config
from pipelines.nodules.annotated_config import AnnotatedSettings
from pipelines.nodules.annotated_data import AnnotatedData, annotated_scans
from tests.make.annotated import (
    HEADING,
    chest_with,
    uid,
    write_decathlon,
    write_luna16,
    write_rows,
)
from tests.make.chest import Ball

INSIDE = [(uid(0), -9, 21, -30, 5.5), (uid(4), -8, 22, -28, 4)]


def read(root: Path, **settings: Any) -> AnnotatedData:
    return annotated_scans(AnnotatedSettings(root=root, **settings), scratch=Scratch())


def left_behind(root: Path) -> bool:
    return (root / "folds.json").exists()


def test_a_luna16_folder_becomes_scans_and_locked_folds(tmp_path: Path) -> None:
    excluded = [(uid(0), -7, 23, -25, -1), (uid(2), 900, 0, 0, -1), (uid(77), 1, 2, 3, -1)]
    root = write_luna16(tmp_path / "luna", INSIDE, excluded=excluded)
    data = read(root)
    assert [scan.name for scan in data.scans] == sorted(uid(n) for n in range(10))
    first = next(scan for scan in data.scans if scan.name == uid(0))
    np.testing.assert_array_equal(first.nodules, [[-9, 21, -30, 5.5]])
    np.testing.assert_array_equal(first.ignored, [[-7, 23, -25, UNMEASURED_DIAMETER_MM]])
    assert sum(len(scan.nodules) for scan in data.scans) == 2
    assert sum(len(scan.ignored) for scan in data.scans) == 1  # what is nowhere is left out
    for fold in range(10):
        train, held_out = data.folds.split(data.scans, fold)
        assert [scan.name for scan in held_out] == [uid(fold)]
        assert len(train) == 9
    lock = json.loads((root / "folds.json").read_text())
    assert lock["scans"][uid(3)] == {"fold": 3, "patient": uid(3)}
    assert read(root).folds.fold_of == data.folds.fold_of


def set_row(row: tuple[object, ...]) -> Callable[[Path], object]:
    return lambda root: write_rows(root / "annotations.csv", [*INSIDE, row])


def remove_scan(root: Path) -> None:
    for file in (root / "subset4").iterdir():
        file.rename(root / "subset5" / file.name.replace(uid(4), "1.2.9"))


def cut_scan(root: Path) -> None:
    file = root / "subset4" / f"{uid(4)}.raw"
    file.write_bytes(file.read_bytes()[:-1])


def lose_voxels(root: Path) -> None:
    (root / "subset4" / f"{uid(4)}.raw").unlink()


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "outside": (
        set_row((uid(1), 50, 21, -30, 5)),
        r"line 4: \(50\.0, 21\.0, -30\.0\) lies outside",
    ),
    "zero": (set_row((uid(1), -9, 21, -30, 0)), r"annotations\.csv, line 4: diameter_mm .* got 0"),
    "negative": (set_row((uid(1), -9, 21, -30, -1)), "line 4: diameter_mm .* got -1"),
    "nan": (set_row((uid(1), "NaN", 21, -30, 4)), "line 4: coordX must be a finite number"),
    "double": (set_row(INSIDE[1]), "line 4: is at the place of line 3"),
    "missing scan": (
        set_row(("1.2.3", -9, 21, -30, 4)),
        r"annotations\.csv, line 4: scan 1\.2\.3 is not here",
    ),
    "no scan in a subset": (remove_scan, "subset4: no CT series or volume"),
    "cut": (cut_scan, rf"subset4: {uid(4)}\.raw: 420 bytes of voxels declared, 419 are"),
    "no voxels": (lose_voxels, f"{uid(4)}.mhd: its voxels are missing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_named_and_nothing_is_left_behind(tmp_path: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    root = write_luna16(tmp_path / "luna", INSIDE)
    spoil(root)
    with pytest.raises(InputError, match=message):
        read(root)
    assert not left_behind(root)


def test_what_matches_no_scan_can_be_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*INSIDE, (uid(1), 50, 21, -30, 5), ("1.2.3", -9, 21, -30, 4)]
    root = write_luna16(tmp_path / "luna", rows)
    with caplog.at_level(logging.WARNING):
        data = read(root, unmatched="drop")
    assert sum(len(scan.nodules) for scan in data.scans) == 2
    assert "1 findings are of scans that are not here" in caplog.text
    assert "1 nodules lie outside of their scans" in caplog.text


def test_a_patient_in_two_subsets_is_named_by_its_scans(tmp_path: Path) -> None:
    root = write_luna16(tmp_path / "luna", INSIDE)
    patients = write_rows(
        tmp_path / "who.csv",
        [(uid(1), "Miller"), (uid(6), "Miller"), (uid(7), "Smith")],
        ("seriesuid", "patient"),
    )
    with pytest.raises(InputError) as error:
        read(root, patients=patients)
    assert f"{uid(1)} in fold 1, {uid(6)} in fold 6" in error.value.message
    assert "Miller" not in error.value.message
    assert not left_behind(root)


def test_scans_that_changed_subsets_break_the_lock(tmp_path: Path) -> None:
    root = write_luna16(tmp_path / "luna", INSIDE)
    lock = tmp_path / "kept.json"
    read(root, lock=lock)
    assert not left_behind(root)
    kept = lock.read_bytes()
    (root / "subset4").rename(root / "subset")
    (root / "subset5").rename(root / "subset4")
    (root / "subset").rename(root / "subset5")
    names = ", ".join(sorted([uid(4), uid(5)]))
    with pytest.raises(InputError, match=f"2 scans are in another fold .*: {names}"):
        read(root, lock=lock)
    assert lock.read_bytes() == kept


NODULES = [(-75.0, 40.0, 20.0), (-60.0, -30.0, 40.0), (70.0, 45.0, -30.0), (65.0, -20.0, 10.0)]


@pytest.fixture(scope="module")
def chests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a LUNA16-shaped folder of coarse chests with four nodules each in two of them."""
    read_chest = chest_with(*(Ball(place, 16.0) for place in NODULES))
    volumes = [read_chest] * 2 + [chest_with()] * 8
    rows = [(uid(n), *place, 16.0) for n in range(2) for place in NODULES]
    return write_luna16(tmp_path_factory.mktemp("made") / "luna", rows, volumes=volumes)


def test_ras_is_told_from_lps_and_can_be_set(chests: Path, tmp_path: Path) -> None:
    turned = [(uid(n), -x, -y, z, 16.0) for n in range(2) for x, y, z in NODULES]
    table = write_rows(tmp_path / "ras.csv", turned)
    settings: dict[str, Any] = {"annotations": table, "lock": tmp_path / "folds.json"}
    with pytest.raises(InputError) as error:
        read(chests, **settings)
    assert error.value.message == (
        "coordinates must be LPS mm, these look like RAS: outside of the lungs or on mere air, "
        "in 2 scans looked at, lie 8 of 8 (100%) as given, 0 (0%) with x and y turned"
    )
    assert not (tmp_path / "folds.json").exists()
    data = read(chests, coordinates="ras", **settings)
    as_given = read(chests, lock=tmp_path / "folds.json")
    for one, other in zip(data.scans, as_given.scans, strict=True):
        np.testing.assert_array_equal(one.nodules, other.nodules)


def test_a_table_of_centres_is_folded_by_patient(tmp_path: Path) -> None:
    root = write_luna16(tmp_path / "luna", INSIDE)
    rows = [(uid(n), -9, 21, -30, 5, f"patient-{n // 2}") for n in range(8)]
    table = write_rows(tmp_path / "marks.csv", rows, (*HEADING, "patient"))
    data = read(root, format="csv", annotations=table, folds=4, lock=tmp_path / "folds.json")
    assert len(data.scans) == 8
    for n in range(0, 8, 2):
        assert data.folds.fold_of[uid(n)] == data.folds.fold_of[uid(n + 1)]
    assert sorted(data.folds.fold_of.values()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert "patient-" not in (tmp_path / "folds.json").read_text()
    with pytest.raises(InputError, match="4 patients cannot fill 5 folds"):
        read(root, format="csv", annotations=table, folds=5, lock=tmp_path / "other.json")


def test_masks_of_the_decathlon_become_nodules(tmp_path: Path) -> None:
    masks = [np.zeros((12, 14, 10), np.uint8) for _ in range(2)]
    masks[0][3:6, 4:7, 5:8] = masks[1][0:4, 0:4, 0:4] = 1
    data = read(write_decathlon(tmp_path, masks), format="decathlon", folds=2)
    assert [len(scan.nodules) for scan in data.scans] == [1, 1]
    assert data.scans[0].nodules[0] == pytest.approx([-8, -10, 12, (6 * 216 / np.pi) ** (1 / 3)])


def test_a_fold_is_one_of_the_folds() -> None:
    with pytest.raises(InputError, match=r"luna: no such folder"):
        read(Path("luna"))
    with pytest.raises(InputError, match="a LUNA16 folder has its own 10"):
        read(Path(), folds=5)
    with pytest.raises(Exception, match="fold=10 of 10 folds: a fold is 0 to 9, or all"):
        check_config(AnnotatedSettings, {"fold": 10}, name="a.yaml")
    assert AnnotatedSettings(fold="all").held_out == tuple(range(10))
    assert AnnotatedSettings(fold=3).held_out == (3,)


@pytest.mark.shared_data
def test_ignored_findings_on_absent_slices_do_no_harm(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only slabs of the two scans are there; their readers looked at all of them."""
    root = shared_data / "ct" / "lidc"
    settings: dict[str, Any] = {"format": "lidc", "folds": 2, "lock": tmp_path / "folds.json"}
    with pytest.raises(InputError, match="fold 1 holds out 1 scans without a single nodule"):
        read(root, fold="all", **settings)
    assert not (tmp_path / "folds.json").exists()
    with caplog.at_level(logging.WARNING):
        data = read(root, fold=0, **settings)
    tables = shared_data / "ct" / "luna16" / "annotations_excluded.csv"
    lines = [line.split(",") for line in tables.read_text().splitlines()]
    in_slab = [
        line for line in lines if line[0] == data.scans[1].name and -95 < float(line[3]) < -80
    ]
    assert [(len(scan.nodules), len(scan.ignored)) for scan in data.scans] == [
        (1, 0),
        (0, len(in_slab)),
    ]
    assert "ignored findings lie outside of their scans" in caplog.text
    assert "LIDC" not in (tmp_path / "folds.json").read_text()


@pytest.mark.shared_data
def test_a_header_without_its_voxels_is_named(shared_data: Path, tmp_path: Path) -> None:
    root = write_luna16(tmp_path / "luna", INSIDE)
    lone = next((shared_data / "ct" / "metaimage_header_only").glob("*.mhd"))
    shutil.copy(lone, root / "subset3" / lone.name)
    with pytest.raises(InputError, match=r"subset3: 1\.3.*\.mhd: its voxels are missing"):
        read(root)


@pytest.mark.shared_data
def test_a_dicom_series_with_a_table_of_tumours(shared_data: Path, tmp_path: Path) -> None:
    """The tumour is the one that boxes on ten slices enclose."""
    root = shared_data / "ct" / "lung_pet_ct_dx" / "A0002"
    with (root.parent / "metadata.csv").open(newline="") as file:
        series = next(
            row["Series UID"] for row in csv.DictReader(file) if "B40f" in row["Series Description"]
        )
    table = write_rows(tmp_path / "tumours.csv", [(series, -62, -100, 212, 92)])
    lock = tmp_path / "folds.json"
    with pytest.raises(InputError, match="1 patients cannot fill 2 folds"):
        read(root, format="csv", annotations=table, folds=2, lock=lock)
    write_rows(table, [(series, 62, 500, 212, 92)])
    with pytest.raises(InputError, match=r"tumours\.csv, line 2: \(62\.0, 500\.0, 212\.0\) lies"):
        read(root, format="csv", annotations=table, folds=2, lock=lock)
