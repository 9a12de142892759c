"""Findings of a case as DICOM files that other viewers open: `OUT/dicom/<case_id>/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medvit import atomic
from medvit.errors import InputError, ReadError
from medvit.findings.finding import CaseResult
from medvit.inference.nodules import NoduleSettings
from medvit.io.case import Case, Reason
from medvit.io.scratch import UNTIL_EXIT, Scratch
from medvit.volume.lungs import NO_LUNGS
from pipelines.scanning.detectors import Detector
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.one_case import INTERNAL_ERROR, log_internal_error

if TYPE_CHECKING:
    from medvit.report.dicom_evidence import Evidence

FOLDER = "dicom"
DicomKind = Literal["sr", "seg"]
DICOM_KINDS: tuple[DicomKind, ...] = ("sr", "seg")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What DICOM files a scan was asked for.

    Attributes:
        keep_identity: Whether patient and study are named as in the images.
    """

    kinds: tuple[DicomKind, ...] = ()
    keep_identity: bool = False


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file that was written, or why it was not.

    Attributes:
        file: Relative to the output folder; empty when there is none.
        reason: Reason code; empty when there is a file.
        message: The sentence behind the code.
    """

    case_id: str
    source: str
    kind: DicomKind
    file: str = ""
    reason: str = ""
    message: str = ""


def write_dicom(
    out: Path,
    result: CaseResult,
    detector: Detector,
    *,
    wanted: Wanted,
    run: Path,
    scratch: Scratch = UNTIL_EXIT,
) -> list[DicomFile]:
    """Write the DICOM files of a case; the same result gives the same bytes.

    Every CT series that was searched gets an SR, and a SEG when there are findings; a
    file of an earlier scan that is no longer due is removed.

    Args:
        out: Output folder of the scan.
        wanted: What was asked for.
        run: Run folder; a fault of medvit itself leaves its traceback there.
        scratch: Where to keep what is unpacked.

    Raises:
        InputError: If the output folder is full or gone.
    """
    if result.case.kind != "ct" or not wanted.kinds:
        return []
    from medvit.report.dicom_evidence import gather_evidence

    folder = out / FOLDER / result.case.case_id
    searched = result.verdict in ("accept", "repair")
    due = [each for each in wanted.kinds if searched and (each == "sr" or result.findings)]
    gather = partial(gather_evidence, keep_identity=wanted.keep_identity, scratch=scratch)
    build = partial(_contents, result, detector, due, gather)
    try:
        contents, why = _built(result.case, build, run) if due else ({}, None)
        for kind in wanted.kinds:
            if kind not in contents:
                (folder / f"{kind}.dcm").unlink(missing_ok=True)
        for kind, content in contents.items():
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(folder / f"{kind}.dcm", content)
    except OSError as error:
        msg = f"{folder} cannot be written: {error.strerror or error}"
        hint = "free some space; the same command goes on where this one stopped"
        raise InputError(msg, hint=hint) from error
    told = partial(DicomFile, result.case.case_id, result.case.source)
    if why is not None:
        return [told(kind, reason=why.code, message=why.message) for kind in due]
    return [told(kind, file=f"{FOLDER}/{result.case.case_id}/{kind}.dcm") for kind in due]


def internal_errors(files: Sequence[DicomFile]) -> int:
    """Return how many cases met a fault of medvit itself while their files were made."""
    return len({each.case_id for each in files if each.reason == INTERNAL_ERROR})


def summarise(files: Sequence[DicomFile]) -> dict[str, Any]:
    """Return for `run.json` how many files there are, and what was left out and why."""
    written = [each.kind for each in files if each.file]
    return {
        **{kind: written.count(kind) for kind in DICOM_KINDS},
        "left_out": [
            {key: value for key, value in asdict(each).items() if key != "file"}
            for each in files
            if not each.file
        ],
    }


Contents = dict[DicomKind, bytes]


def _built(case: Case, build: Callable[[], Contents], run: Path) -> tuple[Contents, Reason | None]:
    """Return the files, or why there are none."""
    try:
        return build(), None
    except ReadError as error:
        return {}, Reason(error.reason, error.message)
    except Exception as error:
        return {}, log_internal_error(case, error, run)


def _contents(
    result: CaseResult,
    detector: Detector,
    kinds: Sequence[DicomKind],
    gather: Callable[[Case], Evidence],
) -> Contents:
    from medvit.report.dicom_words import Algorithm

    case = result.case
    with blamed_on(case.source):
        evidence = gather(case)
    usual = NoduleSettings().min_probability
    algorithm = Algorithm(
        detector.version.reference,
        detector.scale.apply(detector.card.thresholds.get("probability", usual)),
        has_searched=NO_LUNGS not in result.reason.split(";"),
    )
    return {kind: _builder(kind)(evidence, result.findings, algorithm) for kind in kinds}


def _builder(kind: DicomKind) -> Callable[..., bytes]:
    """Return what makes a file; highdicom is not imported by scans that write none."""
    if kind == "sr":
        from medvit.report.dicom_sr import build_sr

        return build_sr
    from medvit.report.dicom_seg import build_seg

    return build_seg
