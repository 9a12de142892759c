"""Annotated scans for training: format -> cases and marks -> checked places -> locked folds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medvit.errors import InputError, ReadError
from pipelines.nodules.annotated_config import AnnotatedSettings, Format

if TYPE_CHECKING:
    from medvit.data.annotated import AnnotatedScan
    from medvit.data.annotations.collected import Collected, SourcedMark
    from medvit.data.annotations.placement import Frame
    from medvit.data.folds import Folds
    from medvit.io.scratch import Scratch
    from medvit.volume.pyramid import Pyramid

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedData:
    """Scans whose marks have been checked, and who is held out when."""

    scans: tuple[AnnotatedScan, ...]
    folds: Folds


def annotated_scans(settings: AnnotatedSettings, *, scratch: Scratch) -> AnnotatedData:
    """Read annotated scans, check every mark, and lock their folds.

    The lock is written last, so that nothing is left behind when anything is refused.

    Args:
        settings: With `root`.
        scratch: Where pyramids of the scans are kept whose lungs are looked at.

    Raises:
        InputError: If a file, a line, a mark or a fold breaks a rule; names file and line.
    """
    root = settings.root
    if root is None or not root.is_dir():
        msg = f"data.annotated.root={root}: no such folder"
        raise InputError(msg, hint="name the folder of the scans: data.root=FOLDER")
    collected = _without_absent(_READERS[settings.format](settings, root), settings)
    collected = _placed(collected, _frames(collected, scratch), settings)
    if collected.is_typed:
        _check_lungs(collected, scratch)
    scans = _scans(collected, settings)
    folds = _folds(scans, collected, settings)
    _log.info(
        "%d scans of %d patients, %d nodules, %d ignored findings",
        len(scans),
        len({scan.patient for scan in scans}),
        len(collected.nodules),
        len(collected.ignored),
    )
    return AnnotatedData(scans, folds)


def _read_luna16(settings: AnnotatedSettings, root: Path) -> Collected:
    from medvit.data.annotations.luna16 import FOLDS, collect_luna16

    if settings.folds != FOLDS:
        msg = f"data.annotated.folds={settings.folds}: a LUNA16 folder has its own {FOLDS}"
        raise InputError(msg, hint=f"set data.annotated.folds={FOLDS}, or format=csv")
    return collect_luna16(
        root,
        annotations=settings.annotations,
        excluded=settings.excluded,
        is_ras=settings.coordinates == "ras",
    )


def _read_centres(settings: AnnotatedSettings, root: Path) -> Collected:
    from medvit.data.annotations.centres import collect_centres

    return collect_centres(
        root,
        annotations=settings.annotations,
        excluded=settings.excluded,
        is_ras=settings.coordinates == "ras",
    )


def _read_lidc(settings: AnnotatedSettings, root: Path) -> Collected:
    from medvit.data.annotations.lidc import collect_lidc

    return collect_lidc(root, annotations=settings.annotations)


def _read_decathlon(_settings: AnnotatedSettings, root: Path) -> Collected:
    from medvit.data.annotations.decathlon import collect_decathlon

    return collect_decathlon(root)


_READERS: Mapping[Format, Callable[[AnnotatedSettings, Path], Collected]] = {
    "luna16": _read_luna16,
    "lidc": _read_lidc,
    "decathlon": _read_decathlon,
    "csv": _read_centres,
}


def _without_absent(collected: Collected, settings: AnnotatedSettings) -> Collected:
    """Return what is left without findings whose scan is not here.

    Raises:
        InputError: If there are some, and they are not to be dropped.
    """
    from medvit.data.annotations.collected import refuse

    here = [mark for mark in collected.nodules if mark.scan in collected.cases]
    absent = [
        f"{mark.source}: scan {mark.scan} is not here"
        for mark in collected.nodules
        if mark.scan not in collected.cases
    ]
    absent += [f"{source} is not here" for source in collected.absent]
    if settings.unmatched == "refuse":
        refuse(absent, hint="get the missing scans, or set data.annotated.unmatched=drop")
    elif absent:
        _log.warning("%d findings are of scans that are not here, and left out", len(absent))
    ignored = [mark for mark in collected.ignored if mark.scan in collected.cases]
    return replace(collected, nodules=tuple(here), ignored=tuple(ignored), absent=())


def _frames(collected: Collected, scratch: Scratch) -> dict[str, Frame]:
    """Open every scan, and return where its voxels lie; a few planes of each are read.

    Raises:
        InputError: Names the scans that cannot be opened.
    """
    from medvit.data.annotations.collected import refuse
    from medvit.data.annotations.placement import Frame
    from medvit.io.readers import open_volume

    frames, faults = {}, []
    for name, case in collected.cases.items():
        try:
            volume = open_volume(case, scratch=scratch)
            frames[name] = Frame(volume.shape, volume.affine_lps)
        except ReadError as error:
            where = case.root.name if len(case.files) == 1 else case.source
            faults.append(f"{where}: {error.message}")
    refuse(faults, hint="repair or remove these scans; medvit inspect judges a folder")
    return frames


def _placed(
    collected: Collected, frames: Mapping[str, Frame], settings: AnnotatedSettings
) -> Collected:
    """Return what is left without marks outside of their scans.

    Raises:
        InputError: If nodules lie outside, and are not to be dropped.
    """
    from medvit.data.annotations import placement

    outside, counts = placement.outside_marks(collected.nodules, frames)
    if collected.is_typed and counts.looks_turned():
        placement.refuse_turned("outside of their scans", counts)
    if settings.unmatched == "refuse":
        placement.refuse_outside(outside, counts)
    others, _ = placement.outside_marks(collected.ignored, frames)
    for what, marks in (("nodules", outside), ("ignored findings", others)):
        if marks:
            _log.warning("%d %s lie outside of their scans, and are left out", len(marks), what)
    return replace(
        collected,
        nodules=tuple(mark for mark in collected.nodules if mark not in set(outside)),
        ignored=tuple(mark for mark in collected.ignored if mark not in set(others)),
    )


def _check_lungs(collected: Collected, scratch: Scratch) -> None:
    from medvit.data.annotations.placement import check_lungs
    from medvit.io.pyramids import open_pyramid

    def pyramid_of(name: str) -> Pyramid:
        return open_pyramid(collected.cases[name], scratch=scratch)

    check_lungs(collected.nodules, pyramid_of)


def _scans(collected: Collected, settings: AnnotatedSettings) -> tuple[AnnotatedScan, ...]:
    import numpy as np

    from medvit.data.annotated import COLUMNS, AnnotatedScan
    from medvit.data.annotations.collected import patient_key
    from medvit.data.annotations.placement import by_scan
    from medvit.data.annotations.table import read_patients

    patients = dict(collected.patients)
    if settings.patients is not None:
        told = read_patients(settings.patients)
        patients |= {name: patient_key(patient) for name, patient in told.items()}
    nodules, ignored = by_scan(collected.nodules), by_scan(collected.ignored)

    def table(marks: Sequence[SourcedMark]) -> np.ndarray:
        return np.array([mark.xyzd_mm for mark in marks], dtype=np.float64).reshape(-1, COLUMNS)

    return tuple(
        AnnotatedScan(
            name=name,
            patient=patients.get(name, name),
            case=collected.cases[name],
            nodules=table(nodules.get(name, ())),
            ignored=table(ignored.get(name, ())),
        )
        for name in sorted(collected.cases)
    )


def _folds(
    scans: Sequence[AnnotatedScan], collected: Collected, settings: AnnotatedSettings
) -> Folds:
    """Return the folds that the data have or get, after the lock agrees with them."""
    from medvit.data.folds import LOCK_FILE, Folds, check_patients, deal_folds, lock_folds

    folds = (
        Folds(settings.folds, collected.fold_of)
        if collected.fold_of
        else deal_folds(scans, count=settings.folds)
    )
    check_patients(scans, folds)
    _check_nodules(scans, folds, settings)
    lock_folds(settings.lock or Path(settings.root or "") / LOCK_FILE, scans, folds)
    return folds


def _check_nodules(
    scans: Sequence[AnnotatedScan], folds: Folds, settings: AnnotatedSettings
) -> None:
    """Refuse to hold out a fold that nothing can be measured on.

    Raises:
        InputError: Names the folds without a nodule.
    """
    from medvit.data.annotations.collected import refuse

    held_out = {fold: folds.split(scans, fold)[1] for fold in settings.held_out}
    empty = [
        f"fold {fold} holds out {len(own)} scans without a single nodule"
        for fold, own in held_out.items()
        if not any(len(scan.nodules) for scan in own)
    ]
    refuse(empty, hint="use fewer folds, or data.annotated.fold=N for one that holds a nodule")
