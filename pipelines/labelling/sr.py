"""What readers agree on as DICOM SR: one file for each CT series with a confirmed nodule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.errors import InputError, NothingToDoError, ReadError
from medvit.findings.agreed import AgreedNodule
from medvit.io.case import Case
from medvit.io.scratch import Scratch
from medvit.store.rows import CaseRow
from medvit.workspace import Workspace
from pipelines.labelling.store import settled_scans
from pipelines.scanning.faults import blamed_on


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A scan whose agreed nodules got no SR.

    Attributes:
        reason: Reason code.
        message: The sentence behind the code.
    """

    case_id: str
    source: str
    reason: str
    message: str


def export_sr(out: Path, workspace: Workspace) -> dict[str, Any]:
    """Write `OUT/<case_id>.dcm` for each CT series in which readers agree on a nodule.

    Each file is there whole or not at all. Once one is written, those of an earlier export
    are removed from the folder for scans of the store that have none now.

    Returns:
        `images` and `boxes`: series and nodules in the files; `written`: names of files;
        `left_out`: scans with agreed nodules whose series cannot be referred to.

    Raises:
        NothingToDoError: If readers agree on no nodule, or no series can be referred to.
        InputError: If the folder cannot be written.
    """
    scans = settled_scans(workspace)
    scratch = Scratch.below(workspace.cache)
    boxes, written, left_out = 0, [], []
    for row, nodules in (each for each in scans if each[1]):
        try:
            content = _report(row, nodules, scratch)
        except ReadError as error:
            left_out.append(LeftOut(row.case_id, row.source, error.reason, error.message))
            continue
        _write(out, row.case_id, content)
        written.append(file_name(row.case_id))
        boxes += len(nodules)
    if not written:
        raise _nothing(left_out)
    _remove(out, {file_name(row.case_id) for row, _ in scans} - {*written})
    told = [asdict(each) for each in left_out]
    counts = {"out": str(out), "images": len(written), "boxes": boxes}
    return counts | {"written": written, "left_out": told}


def file_name(case_id: str) -> str:
    """Return the name of the file of a case; it holds nothing of the patient."""
    return f"{case_id}.dcm"


def _report(row: CaseRow, nodules: Sequence[AgreedNodule], scratch: Scratch) -> bytes:
    """Return the SR of a scan.

    Raises:
        ReadError: If its files are gone, are no DICOM, or cannot be read as a volume.
    """
    from medvit.report.dicom_agreed import build_agreed_sr
    from medvit.report.dicom_evidence import gather_evidence

    with blamed_on(row.source):
        gone = sum(not scratch.archives.local(file).exists() for file in row.files)
        if gone:
            msg = f"{row.source}: {gone} of its {len(row.files)} files are gone"
            raise ReadError(msg, reason="unreadable", hint="put them back, or scan them again")
        case = Case(row.case_id, row.kind, row.source, row.root, row.files, row.series_uid)
        evidence = gather_evidence(case, scratch=scratch)
    if evidence.series_uid != row.series_uid:
        msg = f"{row.source}: another series lies there now than the one that readers saw"
        raise ReadError(msg, reason="unreadable", hint="put it back, or scan the new one")
    return build_agreed_sr(evidence, nodules)


def _write(out: Path, case_id: str, content: bytes) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(out / file_name(case_id), content)
    except OSError as error:
        raise _unwritable(out, error) from error


def _remove(out: Path, names: set[str]) -> None:
    try:
        for name in names:
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from error


def _unwritable(out: Path, error: OSError) -> InputError:
    msg = f"{out} cannot be written: {error.strerror or error}"
    return InputError(msg, hint="name another folder, or free some space, and export again")


def _nothing(left_out: Sequence[LeftOut]) -> NothingToDoError:
    first = left_out[0]
    msg = (
        f"no SR can be written for any of the {len(left_out)} scans with nodules that readers "
        f"agree on: {first.case_id}: {first.message}"
    )
    return NothingToDoError(msg, hint="SR needs the DICOM series; luna16 holds nodules of any scan")
