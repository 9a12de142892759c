"""Folds of annotated scans: whole patients, drawn by hash, locked in a file."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.data.annotated import AnnotatedScan
from medvit.errors import InputError

LOCK_FILE = "folds.json"
SALT = "medvit"
MOST_NAMED = 3
"""Scans that a message names; the others are counted."""

AFRESH_HINT = "put the data back, or name another lock file: earlier figures do not compare then"


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Which scan is held out in which fold.

    Attributes:
        count: Folds are numbered from 0 to below this.
        fold_of: By the name of a scan.
    """

    count: int
    fold_of: Mapping[str, int]

    def split(
        self, scans: Iterable[AnnotatedScan], fold: int
    ) -> tuple[tuple[AnnotatedScan, ...], tuple[AnnotatedScan, ...]]:
        """Return the scans to train on, and those that a fold holds out."""
        parts: tuple[list[AnnotatedScan], list[AnnotatedScan]] = ([], [])
        for scan in scans:
            parts[self.fold_of[scan.name] == fold].append(scan)
        return tuple(parts[0]), tuple(parts[1])


def deal_folds(scans: Sequence[AnnotatedScan], *, count: int, salt: str = SALT) -> Folds:
    """Deal patients to folds in the order of SHA-256 of salt and patient.

    Folds differ by one patient at most.

    Raises:
        InputError: If there are fewer patients than folds.
    """
    patients = sorted({scan.patient for scan in scans}, key=lambda name: _rank(salt, name))
    if len(patients) < count:
        msg = f"{len(patients)} patients cannot fill {count} folds"
        raise InputError(msg, hint=f"set folds={len(patients)} or less, at least 2")
    fold_of = {patient: number % count for number, patient in enumerate(patients)}
    return Folds(count, {scan.name: fold_of[scan.patient] for scan in scans})


def check_patients(scans: Iterable[AnnotatedScan], folds: Folds) -> None:
    """Refuse folds that a patient straddles.

    Raises:
        InputError: Names the scans and their folds.
    """
    of_patient: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        of_patient[scan.patient].append(scan.name)
    for names in of_patient.values():
        own = {folds.fold_of[name]: name for name in names}
        if len(own) > 1:
            shown = ", ".join(f"{name} in fold {fold}" for fold, name in sorted(own.items()))
            msg = f"one patient must stay in one fold, but these are scans of one: {shown}"
            raise InputError(msg, hint="move all scans of a patient into one fold")


def lock_folds(file: Path, scans: Sequence[AnnotatedScan], folds: Folds) -> None:
    """Write folds to a lock file; where there is one, refuse what differs from it.

    Patients are kept as they are in `AnnotatedScan`, and a hash over everything.

    Raises:
        InputError: If a scan is gone, new, of another patient or in another fold than when
            the folds were locked, the lock was edited, or it cannot be read or written.
    """
    rows = {
        scan.name: {"patient": scan.patient, "fold": folds.fold_of[scan.name]} for scan in scans
    }
    if file.exists():
        _compare(file, _read_lock(file), {"folds": folds.count, "scans": rows})
        return
    lock = {"folds": folds.count, "sha256": _digest(folds.count, rows), "scans": rows}
    try:
        atomic.write_text(file, json.dumps(lock, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        msg = f"{file}: the folds cannot be locked there ({error.strerror})"
        raise InputError(msg, hint="name a file that can be written as the lock") from error


def _read_lock(file: Path) -> dict[str, Any]:
    try:
        lock = json.loads(file.read_text(encoding="utf-8"))
        stated, found = lock["sha256"], _digest(lock["folds"], lock["scans"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{file}: not a lock of folds ({type(error).__name__}: {error})"
        raise InputError(msg, hint="restore it, or remove it to lock the folds anew") from error
    if stated != found:
        msg = f"{file}: was edited, its hash is {str(stated)[:12]} and should be {found[:12]}"
        raise InputError(msg, hint="restore it, or remove it to lock the folds anew")
    return dict(lock)


def _compare(file: Path, lock: dict[str, Any], now: dict[str, Any]) -> None:
    if lock["folds"] != now["folds"]:
        msg = f"{file}: locks {lock['folds']} folds, {now['folds']} are asked for"
        raise InputError(msg, hint=f"set folds={lock['folds']}, or name another lock file")
    then, here = lock["scans"], now["scans"]
    _refuse(file, "are gone since the folds were locked", sorted(then.keys() - here.keys()))
    _refuse(file, "are new since the folds were locked", sorted(here.keys() - then.keys()))
    for key, what in (("fold", "are in another fold"), ("patient", "are of another patient")):
        moved = [name for name in sorted(here) if here[name][key] != then[name][key]]
        _refuse(file, f"{what} than when the folds were locked", moved)


def _refuse(file: Path, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        msg = f"{file}: {len(names)} scans {what}: {', '.join(names[:MOST_NAMED])}{more}"
        raise InputError(msg, hint=AFRESH_HINT)


def _digest(count: int, rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{name}\0{rows[name]['patient']}\0{rows[name]['fold']}" for name in sorted(rows)]
    return hashlib.sha256("\n".join([str(count), *lines]).encode()).hexdigest()


def _rank(salt: str, patient: str) -> str:
    return hashlib.sha256(f"{salt}\0{patient}".encode()).hexdigest()
