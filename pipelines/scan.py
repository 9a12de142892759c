"""Scan folders: path -> cases -> findings -> journal, store, tables and report.

Each finished case is on the disk before the next one starts, so a scan that was
killed goes on where it stopped. A case that cannot be read is a row like any
other. A fault of medvit itself on one case is recorded as `internal_error`, its
traceback goes to `errors.log` in the run folder, the other cases go on, and the
command ends with exit code 1; such a case is never taken from the journal.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import medvit
from medvit.io.case import Case, Kind
from medvit.io.scratch import Scratch
from medvit.report.summary import ModelUsed, ReportSummary
from medvit.store.rows import RunState
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.run_record import git_commit
from pipelines.scanning.answers import write_answers, write_record
from pipelines.scanning.detectors import Detector, choose_device, load_detectors
from pipelines.scanning.dicom_files import (
    BUILDERS,
    DicomFile,
    Wanted,
    internal_errors,
    summarise,
    write_dicom,
)
from pipelines.scanning.journal import Entry, Journal, case_key, exclusive
from pipelines.scanning.memory import peak_rss_mb
from pipelines.scanning.one_case import is_internal_error, scan_case
from pipelines.scanning.sources import Sources, find_cases

Progress = Callable[[float, float, str], None]


class ScanSettings(Settings):
    """What to scan, with which model, and where the answers go."""

    sources: tuple[Path, ...]
    out: Path
    task: Literal["auto", "nodule", "defect"] = "auto"
    model: str | None = None
    write: tuple[Literal["luna16", "sr", "seg"], ...] = ()
    keep_identity: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What a scan answers; the fields are the keys of its JSON answer.

    Attributes:
        run: Folder that holds `run.json`.
        resumed: Cases taken from the journal of an earlier, equal scan.
        skipped: Cases of a kind that `task` leaves out.
        internal_errors: Cases that met a fault of medvit itself.
        sr: Structured reports written. `seg` likewise.
        without_dicom: Cases that should have had one of them and could not.
    """

    run: Path
    out: Path
    cases: int
    accept: int
    repair: int
    refuse: int
    fail: int
    findings: int
    resumed: int
    skipped: int
    other_files: int
    internal_errors: int
    sr: int
    seg: int
    without_dicom: int
    predicted_peak_mb: float
    measured_peak_mb: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "run": str(self.run), "out": str(self.out)}


@dataclass(slots=True)
class _Scan:
    """A scan on its way.

    Attributes:
        run: Run folder.
        run_id: Number of the run in the store.
        entries: Finished cases so far.
        dicom: SR and SEG files of these cases.
    """

    settings: ScanSettings
    sources: Sources
    detectors: dict[Kind, Detector]
    scratch: Scratch
    device: str
    started_s: float
    run: Path = Path()
    run_id: int = 0
    entries: list[Entry] = field(default_factory=list)
    dicom: list[DicomFile] = field(default_factory=list)
    resumed: int = 0
    predicted_peak_mb: float = 0.0


def run(
    settings: ScanSettings, *, workspace: Workspace, progress: Progress | None = None
) -> ScanSummary:
    """Scan everything that the sources hold and write the answers.

    Args:
        progress: Called with cases done (a fraction inside a case), cases in all, and
            the source at hand.

    Raises:
        InputError: If a source is missing, or `out` cannot be used or is in use.
        ModelError: If a model is unknown or altered.
        NothingToDoError: If the sources hold no case.
        StoreError: If the store fails.
    """
    started_s = time.perf_counter()
    scratch = Scratch.below(workspace.cache)
    sources = find_cases(settings.sources, settings.task, archives=scratch.archives)
    device = choose_device(settings.device)
    kinds = {case.kind for case in sources.cases}
    detectors = load_detectors(kinds, settings.model, device=device, workspace=workspace)
    scan = _Scan(settings, sources, detectors, scratch, device.type, started_s)
    workspace.prepare()
    with exclusive(settings.out), Store.open(workspace.store_url) as store:
        scan.run = workspace.new_run("scan")
        scan.run_id = _start(scan, store)
        state: RunState = "failed"
        try:
            _scan_cases(scan, store, progress or _ignore)
            write_answers(settings.out, scan.entries, _report(scan), also=settings.write)
            state = "done"
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        finally:
            summary = _summary(scan)
            _write_record(scan, summary, state)
            store.finish_run(scan.run_id, state, _counts(summary))
    return summary


def _scan_cases(scan: _Scan, store: Store, progress: Progress) -> None:
    journal = Journal(scan.settings.out)
    cases = scan.sources.cases
    for number, case in enumerate(cases):
        progress(number, len(cases), case.source)
        key = _key(scan, case)
        entry = journal.find(case, key)
        scan.resumed += entry is not None
        if entry is None:
            inside = partial(_tell, progress, number, len(cases), case.source)
            detector = scan.detectors[case.kind]
            entry, predicted_mb = scan_case(
                case, detector, run=scan.run, progress=inside, scratch=scan.scratch
            )
            scan.predicted_peak_mb = max(scan.predicted_peak_mb, predicted_mb)
            if not is_internal_error(entry.result):
                journal.add(entry, key)
        store.save_result(scan.run_id, entry.result)
        scan.entries.append(entry)
        scan.dicom += _write_dicom(scan, entry)
    progress(len(cases), len(cases), "")


def _write_dicom(scan: _Scan, entry: Entry) -> list[DicomFile]:
    settings = scan.settings
    kinds = tuple(kind for kind in BUILDERS if kind in settings.write)
    return write_dicom(
        settings.out,
        entry.result,
        scan.detectors[entry.result.case.kind],
        wanted=Wanted(kinds, keep_identity=settings.keep_identity),
        run=scan.run,
        scratch=scan.scratch,
    )


def _key(scan: _Scan, case: Case) -> str:
    model = scan.detectors[case.kind].version
    return case_key(
        case,
        medvit=medvit.__version__,
        model=model.reference,
        model_sha256=model.sha256,
        device=scan.device,
    )


def _start(scan: _Scan, store: Store) -> int:
    models = [detector.version for detector in scan.detectors.values()]
    return store.start_run(
        "scan",
        scan.settings.model_dump(mode="json"),
        model=", ".join(model.reference for model in models),
        model_sha256=", ".join(model.sha256 for model in models),
    )


def _ignore(_done: float, _total: float, _what: str) -> None:
    """Take no notice of progress."""


def _tell(progress: Progress, number: int, total: int, source: str, share: float) -> None:
    progress(number + share, total, source)


def _summary(scan: _Scan) -> ScanSummary:
    results = [entry.result for entry in scan.entries]
    verdicts = Counter(result.verdict for result in results)
    return ScanSummary(
        run=scan.run,
        out=scan.settings.out,
        cases=len(scan.sources.cases),
        accept=verdicts["accept"],
        repair=verdicts["repair"],
        refuse=verdicts["refuse"],
        fail=verdicts["fail"],
        findings=sum(len(result.findings) for result in results),
        resumed=scan.resumed,
        skipped=scan.sources.skipped,
        other_files=scan.sources.other_files,
        internal_errors=sum(map(is_internal_error, results)) + internal_errors(scan.dicom),
        sr=sum(each.kind == "sr" and not each.reason for each in scan.dicom),
        seg=sum(each.kind == "seg" and not each.reason for each in scan.dicom),
        without_dicom=len({each.case_id for each in scan.dicom if each.reason}),
        predicted_peak_mb=round(scan.predicted_peak_mb, 1),
        measured_peak_mb=round(peak_rss_mb(), 1),
        seconds=round(time.perf_counter() - scan.started_s, 2),
    )


def _report(scan: _Scan) -> ReportSummary:
    summary = _summary(scan)
    versions = [detector.version for detector in scan.detectors.values()]
    return ReportSummary(
        sources=tuple(str(source) for source in scan.settings.sources),
        models=tuple(ModelUsed(each.task, each.reference, each.sha256) for each in versions),
        settings=scan.settings.model_dump(mode="json"),
        finished_at=datetime.now(UTC),
        seconds=summary.seconds,
        version=medvit.__version__,
        device=scan.device,
        measured_peak_mb=summary.measured_peak_mb,
        predicted_peak_mb=summary.predicted_peak_mb or None,
        commit=git_commit(),
        other_files=summary.other_files,
        resumed=summary.resumed,
    )


def _write_record(scan: _Scan, summary: ScanSummary, state: RunState) -> None:
    write_record(
        (scan.run, scan.settings.out),
        results=[entry.result for entry in scan.entries],
        detectors=scan.detectors.values(),
        facts={
            "state": state,
            "settings": scan.settings.model_dump(mode="json"),
            "device": scan.device,
            "counts": _counts(summary),
            "seconds": summary.seconds,
            "predicted_peak_mb": summary.predicted_peak_mb,
            "measured_peak_mb": summary.measured_peak_mb,
            "dicom": summarise(scan.dicom),
        },
    )


def _counts(summary: ScanSummary) -> dict[str, int]:
    """Return the whole numbers of a summary, by name."""
    return {name: value for name, value in asdict(summary).items() if isinstance(value, int)}
