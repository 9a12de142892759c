from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from medvit.data.annotated import AnnotatedScan
from medvit.data.folds import Folds, check_patients, deal_folds, lock_folds
from medvit.errors import InputError
from medvit.io.case import Case

NO_MARKS = np.zeros((0, 4))


def scan(name: str, patient: str) -> AnnotatedScan:
    case = Case("ct-0", "ct", name, Path("/data"), (Path(name),))
    return AnnotatedScan(name, patient, case, NO_MARKS, NO_MARKS)


PAIRS = [scan(f"scan-{number}", f"patient-{number // 2}") for number in range(12)]


@given(lists(integers(0, 9), min_size=2, max_size=40), integers(2, 5))
def test_a_patient_stays_whole_and_folds_differ_by_one_patient(
    owners: list[int], count: int
) -> None:
    scans = [scan(f"scan-{number}", str(owner)) for number, owner in enumerate(owners)]
    if len(set(owners)) < count:
        with pytest.raises(InputError, match=f"{len(set(owners))} patients cannot fill {count}"):
            deal_folds(scans, count=count)
        return
    folds = deal_folds(scans, count=count)
    check_patients(scans, folds)
    sizes = [len({each.patient for each in folds.split(scans, fold)[1]}) for fold in range(count)]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(set(owners))
    train, held_out = folds.split(scans, 0)
    assert not {each.patient for each in train} & {each.patient for each in held_out}
    again = deal_folds(scans[::-1], count=count)
    assert again.fold_of == folds.fold_of


def test_the_deal_is_that_of_sha256() -> None:
    order = [3, 0, 4, 5, 1, 2]  # of patients by `printf 'medvit\0patient-N' | sha256sum`
    folds = deal_folds(PAIRS, count=3)
    expected = [order.index(number // 2) % 3 for number in range(12)]
    assert [folds.fold_of[each.name] for each in PAIRS] == expected


def test_a_patient_in_two_folds_is_named_by_its_scans() -> None:
    folds = Folds(2, {each.name: 0 for each in PAIRS} | {"scan-5": 1})
    with pytest.raises(InputError, match="scan-4 in fold 0, scan-5 in fold 1"):
        check_patients(PAIRS, folds)


def test_the_lock_is_written_once_and_agrees_later(tmp_path: Path) -> None:
    folds = deal_folds(PAIRS, count=3)
    lock = tmp_path / "folds.json"
    lock_folds(lock, PAIRS, folds)
    written = lock.read_bytes()
    lock_folds(lock, PAIRS[::-1], folds)
    assert lock.read_bytes() == written
    assert json.loads(written)["folds"] == 3


def test_what_differs_from_the_lock_is_named(tmp_path: Path) -> None:
    folds = deal_folds(PAIRS, count=3)
    lock = tmp_path / "folds.json"
    lock_folds(lock, PAIRS, folds)
    more = [*PAIRS, scan("scan-new", "patient-0")]
    other = [replace(PAIRS[0], patient="patient-9"), *PAIRS[1:]]
    moved = {**folds.fold_of, "scan-3": (folds.fold_of["scan-3"] + 1) % 3}
    for scans, now, message in (
        (PAIRS[2:], folds, "2 scans are gone since the folds were locked: scan-0, scan-1"),
        (more, Folds(3, {**folds.fold_of, "scan-new": 0}), "1 scans are new .*: scan-new"),
        (other, folds, "1 scans are of another patient .*: scan-0"),
        (PAIRS, Folds(3, moved), "1 scans are in another fold .*: scan-3"),
        (PAIRS, Folds(4, folds.fold_of), "locks 3 folds, 4 are asked for"),
    ):
        with pytest.raises(InputError, match=message):
            lock_folds(lock, scans, now)


def test_an_edited_or_broken_lock_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "folds.json"
    folds = deal_folds(PAIRS, count=3)
    lock_folds(lock, PAIRS, folds)
    content = json.loads(lock.read_text())
    content["scans"]["scan-0"]["fold"] = (content["scans"]["scan-0"]["fold"] + 1) % 3
    lock.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"folds\.json: was edited, its hash is"):
        lock_folds(lock, PAIRS, folds)
    lock.write_text("[]")
    with pytest.raises(InputError, match="not a lock of folds"):
        lock_folds(lock, PAIRS, folds)
    with pytest.raises(InputError, match="cannot be locked there"):
        lock_folds(tmp_path / "no" / "folder.json", PAIRS, folds)
