"""Convert CT for other programs: path -> cases -> volumes -> NIfTI, MetaImage or OME-Zarr."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medvit.errors import MedvitError, ReadError
from medvit.io.case import Case
from medvit.io.readers import open_volume
from medvit.io.scratch import Scratch
from medvit.io.triage import triage
from medvit.io.verdict import refused
from medvit.io.writing.formats import WRITERS
from medvit.io.writing.nifti import misplaced_mm, twin_of
from medvit.io.writing.ome_zarr import write_ome_zarr
from medvit.volume.volume import Hu, Volume
from medvit.workspace import Workspace
from pipelines.converting.rows import Row, failed, write_table
from pipelines.converting.selection import only_one, volumes_of
from pipelines.converting.targets import (
    Target,
    cannot_write,
    check_free,
    choose_target,
    is_there,
    make_folder,
)
from pipelines.run_record import write_run_record
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.memory import peak_rss_mb
from pipelines.scratch import scratch_of_one_pass

TABLE = "converted.csv"

TOLD_FROM_MM = 0.01
"""Voxels that some readers misplace by more than this are told of."""

Progress = Callable[[float, float, str], None]


class ConvertSettings(BaseModel):
    """What to convert, and where to.

    Attributes:
        target: A file by its ending, or with `format` a folder for every case.
        series: SeriesInstanceUID of the one series to take; empty for any.
        force: Whether what is there already is replaced.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Path
    target: Path
    format: str = ""
    series: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """What was converted.

    Attributes:
        rows: Every case that was to be converted.
        left_out: Cases that no program could read, beside the one that was converted.
        table: `converted.csv`; None when one file was asked for.
        run: Folder that holds `run.json`; None where the workspace cannot be written.
    """

    target: Target
    rows: tuple[Row, ...]
    left_out: tuple[Row, ...]
    table: Path | None
    seconds: float
    run: Path | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many cases ended in which way."""
        return {
            "converted": sum(row.file is not None and not row.is_kept for row in self.rows),
            "kept": sum(row.is_kept for row in self.rows),
            "refused": sum(row.verdict == "refuse" for row in self.rows),
            "failed": sum(row.verdict == "fail" for row in self.rows),
        }

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "run": None if self.run is None else str(self.run),
            "out": str(self.target.path),
            "format": self.target.ending.removeprefix("."),
            "cases": [row.as_json() for row in self.rows],
            "left_out": [row.as_json() for row in self.left_out],
            "table": None if self.table is None else str(self.table),
            **self.counts,
            "seconds": round(self.seconds, 2),
        }


def run(
    settings: ConvertSettings, *, workspace: Workspace, progress: Progress | None = None
) -> Conversion:
    """Convert one volume, or every volume of a folder.

    One bad case of a folder is a row; the others go on. A file is there whole or not at
    all. Cases of a folder that an earlier run converted are kept.

    Raises:
        InputError: If the source is missing or holds several volumes for one file, or the
            target cannot be written or is there already.
        NothingToDoError: If the source holds no CT.
    """
    started = time.perf_counter()
    advance = progress or (lambda _done, _total, _what: None)
    target = choose_target(settings.source, settings.target, settings.format)
    if target.is_single:
        check_free(target.path, force=settings.force)
    scratch = scratch_of_one_pass(workspace)
    cases = volumes_of(settings.source, settings.series, archives=scratch.archives)
    rows = [_judge(case, scratch) for case in cases]
    rows, left_out = only_one(settings.source, rows) if target.is_single else (rows, [])
    table = None if target.is_single else target.path / TABLE
    convert = partial(_convert, target, scratch, force=settings.force)
    rows = _convert_all(rows, table, convert, advance)
    seconds = time.perf_counter() - started
    conversion = Conversion(target, tuple(rows), tuple(left_out), table, seconds)
    return _recorded(conversion, settings, workspace)


def _judge(case: Case, scratch: Scratch) -> Row:
    try:
        with blamed_on(case.source):
            return Row(case, triage(case, scratch=scratch))
    except ReadError as error:
        return Row(case, refused(error))


def _convert_all(
    rows: list[Row], table: Path | None, convert: Callable[..., Row], advance: Progress
) -> list[Row]:
    """Convert the readable cases one after the other; the table is right after each of them."""
    done: list[Row] = []
    for number, row in enumerate(rows):
        tell = _teller(advance, row.case.source, number=number, count=len(rows))
        done.append(convert(row, tell=tell))
        if table is not None:
            make_folder(table.parent)
            _write_table(table, [*done, *rows[number + 1 :]])
    return done


def _teller(
    advance: Progress, source: str, *, number: int, count: int
) -> Callable[[int, int], None]:
    """Return what turns the slices of one case into progress: slices of one, else cases."""

    def tell(slices: int, of: int) -> None:
        if count == 1:
            advance(slices, of, source)
        else:
            advance(number + slices / of, count, source)

    return tell


def _convert(
    target: Target, scratch: Scratch, row: Row, *, force: bool, tell: Callable[[int, int], None]
) -> Row:
    if row.verdict == "refuse":
        return row
    path = target.path_of(row.case)
    if not target.is_single and not force and is_there(path):
        return replace(row, file=path, is_kept=True)
    check_free(path, force=force or not target.is_single)
    make_folder(path.parent)
    try:
        volume = _open(row.case, scratch)
        dtype = _write(volume, path, target.ending, row.case.case_id, tell)
    except ReadError as error:
        return failed(row.case, error)
    except OSError as error:
        raise cannot_write(path, error) from error
    return replace(row, file=path, dtype=dtype, notes=_notes(volume, path))


def _open(case: Case, scratch: Scratch) -> Volume:
    """Open a case so that whatever its files do is a `ReadError`; other errors are the target's."""
    with blamed_on(case.source):
        volume = open_volume(case, scratch=scratch)

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        with blamed_on(case.source):
            return volume.read_block(z, y, x)

    return replace(volume, read_block=read_block)


def _write(
    volume: Volume, path: Path, ending: str, case_id: str, tell: Callable[[int, int], None]
) -> str:
    write = WRITERS[ending]
    if write is write_ome_zarr:
        return write_ome_zarr(volume, path, progress=tell, source_case=case_id).name
    return write(volume, path, progress=tell).name


def _notes(volume: Volume, path: Path) -> tuple[str, ...]:
    """Return where ITK, and what is built on it, would read a sound NIfTI file wrongly."""
    twin = twin_of(path)
    if twin is None:
        return ()
    notes = []
    off_mm = misplaced_mm(volume)
    if off_mm > TOLD_FROM_MM:
        notes.append(
            f"the axes are not quite at right angles: readers of NIfTI built on ITK place voxels "
            f"up to {off_mm:.2f} mm off; .mha and .ome.zarr hold the place exactly"
        )
    if twin.exists():
        packed, plain = sorted((path.name, twin.name), key=len, reverse=True)
        notes.append(f"ITK takes the voxels of {plain} for those of {packed} in the same folder")
    return tuple(notes)


def _write_table(path: Path, rows: list[Row]) -> None:
    try:
        write_table(path, rows)
    except OSError as error:
        raise cannot_write(path, error) from error


def _recorded(
    conversion: Conversion, settings: ConvertSettings, workspace: Workspace
) -> Conversion:
    """Leave `run.json`; a workspace that cannot be written is no reason to lose a conversion."""
    record = {
        "command": "convert",
        "state": "done",
        "settings": settings.model_dump(mode="json"),
        "models": {},
        "device": "cpu",
        "counts": {"cases": len(conversion.rows), **conversion.counts},
        "seconds": round(conversion.seconds, 2),
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [
            {"case_id": row.case.case_id, "reason": row.reasons[0].code}
            for row in conversion.rows
            if row.file is None
        ],
    }
    try:
        folder = workspace.new_run("convert")
        write_run_record(folder, record)
    except (MedvitError, OSError):
        return conversion
    return replace(conversion, run=folder)
