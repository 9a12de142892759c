"""Scan folders: path -> cases -> findings -> journal, store, tables and report.

Each finished case is in the journal before the next one starts, so a scan that was
killed goes on where it stopped. A case that cannot be read is a row like any
other. A fault of medvit itself on one case is recorded as `internal_error`, its
traceback goes to `errors.log` in the run folder, the other cases go on, and the
command ends with exit code 1; such a case is never taken from the journal.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

import medvit
from medvit.io.case import Case, Kind
from medvit.io.scratch import Scratch
from medvit.report.summary import ModelUsed, ReportSummary
from medvit.store.rows import RunState
from medvit.store.store import Store
from medvit.tiles.progressive import Effort
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.engines.opening import EngineName, open_engine
from pipelines.engines.turns import Assignment, Engine, Turn
from pipelines.run_record import git_commit
from pipelines.scanning.alike import keep_looks
from pipelines.scanning.answers import write_answers, write_record
from pipelines.scanning.arrivals import Arrivals
from pipelines.scanning.budget import check_budget, default_budget
from pipelines.scanning.detectors import Detector, at_operating_point, choose_device, load_detectors
from pipelines.scanning.dicom_files import (
    DICOM_KINDS,
    DicomFile,
    Wanted,
    internal_errors,
    summarise,
    write_dicom,
)
from pipelines.scanning.hindsight import look_back, notes_of
from pipelines.scanning.journal import Entry, Journal, case_key, exclusive, tiles_folder
from pipelines.scanning.limits import Limits, deadline_of
from pipelines.scanning.live import LiveFile
from pipelines.scanning.one_case import CaseDone, is_internal_error, not_reached
from pipelines.scanning.result_buffer import ResultBuffer
from pipelines.scanning.sources import Sources, find_cases
from pipelines.scanning.summary import ScanSummary
from pipelines.scanning.workbench import Workbench

__all__ = ["ScanSettings", "ScanSummary", "run"]
Progress = Callable[[float, float, str], None]


class ScanSettings(Settings):
    """What to scan, with which model, and where the answers go.

    Attributes:
        max_ram_bytes: What the process may hold; None: most of what is free.
        views: Mirrored views of each tile of CT whose maps are averaged.
        deadline_s: Seconds after which the scan ends with what it has; None: when it is done.
        fp_per_scan: False nodules a CT that the threshold is to allow; or
        miss_rate: Share of nodules it may miss; None for both: the model's own threshold.
        scheduler: Address of the dask scheduler whose workers scan; None with `dask`:
        workers: So many on this machine, or as many as there is room for.
    """

    sources: tuple[Path, ...]
    out: Path
    task: Literal["auto", "nodule", "defect"] = "auto"
    model: str | None = None
    write: tuple[Literal["luna16", "sr", "seg", "coco"], ...] = ()
    keep_identity: bool = False
    max_ram_bytes: int | None = Field(None, gt=0)
    effort: Effort = "balanced"
    views: Literal[1, 2, 4, 8] = 1
    deadline_s: float | None = Field(None, gt=0)
    fp_per_scan: float | None = Field(None, gt=0)
    miss_rate: float | None = Field(None, gt=0, lt=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: EngineName = "local"
    scheduler: str | None = None
    workers: int | None = Field(None, gt=0)


@dataclass(slots=True)
class _Scan:
    """A scan on its way.

    Attributes:
        run_id: Number of the run in the store.
        by_number: Cases that had their turn, by their place among all.
        dicom: SR and SEG files of these cases.
    """

    settings: ScanSettings
    sources: Sources
    detectors: dict[Kind, Detector]
    bench: Workbench
    device: str
    engine: Engine
    workspace: Workspace
    started_s: float
    arrivals: Arrivals | None = None
    run_id: int = 0
    by_number: dict[int, CaseDone] = field(default_factory=dict)
    dicom: list[DicomFile] = field(default_factory=list)
    drift: dict[str, Any] = field(default_factory=dict)
    resumed: int = 0

    @property
    def done(self) -> list[CaseDone]:
        """The cases that had their turn, in the order of all."""
        return [self.by_number[number] for number in sorted(self.by_number)]

    @property
    def entries(self) -> list[Entry]:
        """The results of the cases that had their turn."""
        return [done.entry for done in self.done]


def run(
    settings: ScanSettings,
    *,
    workspace: Workspace,
    progress: Progress | None = None,
    arrivals: Arrivals | None = None,
) -> ScanSummary:
    """Scan everything that the sources hold and write the answers.

    Args:
        progress: Called with cases done (a fraction inside a case), cases in all, and
            the source at hand.
        arrivals: A batch of a watch, which has locked `out`; None scans what the sources hold.

    Raises:
        InputError: If a source is missing, `out` cannot be used or is in use, or there is no
            worker that can help.
        ModelError: If a model is unknown or altered.
        ConfigError: If the model holds no threshold as strict as asked for.
        NothingToDoError: If the sources hold no case.
        StoreError: If the store fails.
    """
    with open_engine(
        settings.engine, scheduler=settings.scheduler, workers=settings.workers
    ) as engine:
        told = progress or (lambda _done, _total, _what: None)
        return _run(settings, engine, workspace=workspace, progress=told, arrivals=arrivals)


def _run(
    settings: ScanSettings,
    engine: Engine,
    *,
    workspace: Workspace,
    progress: Progress,
    arrivals: Arrivals | None,
) -> ScanSummary:
    """Scan with an engine that is ready."""
    started_s = time.perf_counter()
    limits = _limits(settings)
    scratch = Scratch.below(workspace.cache)
    if arrivals is None:
        sources = find_cases(settings.sources, settings.task, archives=scratch.archives)
    else:
        sources = arrivals.sources
    device = choose_device(settings.device)
    kinds = {case.kind for case in sources.cases}
    detectors = load_detectors(kinds, settings.model, device=device, workspace=workspace)
    if "ct" in detectors:
        detectors["ct"] = at_operating_point(
            detectors["ct"], fp_per_scan=settings.fp_per_scan, miss_rate=settings.miss_rate
        )
    costs = workspace.cache / "costs"
    check_budget(detectors.values(), limits, costs=costs)
    workspace.prepare()
    lock = nullcontext() if arrivals else exclusive(settings.out)
    with lock, Store.open(workspace.store_url) as store:
        tiles = tiles_folder(settings.out)
        bench = Workbench(workspace.new_run("scan"), tiles, limits, scratch, costs)
        scan = _Scan(settings, sources, detectors, bench, device.type, engine, workspace, started_s)
        scan.arrivals, scan.run_id = arrivals, _start(scan, store)
        state: RunState = "failed"
        try:
            _scan_cases(scan, store, progress)
            _check_any_fits(scan)
            scan.drift = look_back(scan.entries, detectors.get("image"), store=store, run=bench.run)
            _answer(scan)
            state = "done"
        except KeyboardInterrupt:
            state = "interrupted"
            if arrivals is not None:
                _answer(scan)
            raise
        finally:
            summary = _summary(scan)
            _write_record(scan, summary, state)
            store.finish_run(scan.run_id, state, _counts(summary))
    return summary


def _limits(settings: ScanSettings) -> Limits:
    most, ends_at_s = settings.max_ram_bytes or default_budget(), deadline_of(settings.deadline_s)
    return Limits(most, settings.effort, settings.views, ends_at_s)


def _scan_cases(scan: _Scan, store: Store, progress: Progress) -> None:
    journal, results = Journal(scan.settings.out), ResultBuffer(store, scan.run_id)

    def keep(number: int, done: CaseDone) -> None:
        results.add(done.entry.result)
        scan.by_number[number] = done
        if scan.arrivals is not None:
            scan.arrivals.done.append(done)
        scan.dicom += _write_dicom(scan, done.entry)

    def due() -> Iterator[Turn]:
        """Yield the cases that must be scanned; asked for the next when somebody is free."""
        for number, case in enumerate(scan.sources.cases):
            if number and scan.arrivals is not None and not scan.arrivals.goes_on():
                return
            progress(len(scan.by_number), len(scan.sources.cases), case.source)
            key = _key(scan, case)
            entry = journal.find(case, key)
            scan.resumed += entry is not None
            if entry is not None:
                keep(number, CaseDone(entry))
            elif scan.bench.limits.is_time_up():
                keep(number, not_reached(case))
            else:
                yield Turn(case, number, key)

    live = LiveFile(scan.bench.run)
    try:
        for turn, done in scan.engine.scan(due(), _assignment(scan, live, progress)):
            if done.is_final:
                journal.add(done.entry, turn.key)
            keep(turn.number, done)
    finally:
        live.close()
        results.write()
    progress(len(scan.sources.cases), len(scan.sources.cases), "")


def _assignment(scan: _Scan, live: LiveFile, progress: Progress) -> Assignment:
    return Assignment(
        sources=scan.settings.sources,
        workspace=scan.workspace,
        detectors=scan.detectors,
        bench=scan.bench,
        max_ram_bytes=scan.settings.max_ram_bytes,
        device=scan.device,
        cases=len(scan.sources.cases),
        live=live,
        progress=progress,
    )


def _check_any_fits(scan: _Scan) -> None:
    """Say how much memory would do when not one case fits into what there is."""
    if scan.arrivals is not None:
        return  # a watch goes on with the next case
    errors = [done.budget_error for done in scan.done if done.budget_error is not None]
    if errors and len(errors) == len(scan.done):
        raise max(errors, key=lambda error: error.smallest_bytes)


def _answer(scan: _Scan) -> None:
    """Write tables, report and index; tables and report of a watch hold the earlier cases, too."""
    earlier = scan.arrivals.earlier if scan.arrivals is not None else ()
    detector = scan.detectors.get("image")
    keep_looks(scan.entries, detector, folder=scan.workspace.neighbours)
    write_answers(
        scan.settings.out,
        [*earlier, *scan.entries],
        _report(scan),
        also=scan.settings.write,
        classes=detector.card.classes if detector is not None else (),
    )


def _write_dicom(scan: _Scan, entry: Entry) -> list[DicomFile]:
    settings = scan.settings
    kinds = tuple(kind for kind in DICOM_KINDS if kind in settings.write)
    return write_dicom(
        settings.out,
        entry.result,
        scan.detectors[entry.result.case.kind],
        wanted=Wanted(kinds, keep_identity=settings.keep_identity),
        run=scan.bench.run,
        scratch=scan.bench.scratch,
    )


def _key(scan: _Scan, case: Case) -> str:
    model, card = scan.detectors[case.kind].version, scan.detectors[case.kind].card
    return case_key(
        case,
        medvit=medvit.__version__,
        model=model.reference,
        model_sha256=model.sha256,
        device=scan.device,
        effort=scan.settings.effort,
        views=scan.settings.views,
        thresholds=card.thresholds,
        calibration=card.calibration,
        ood=card.ood,
    )


def _start(scan: _Scan, store: Store) -> int:
    models = [detector.version for detector in scan.detectors.values()]
    return store.start_run(
        "scan",
        scan.settings.model_dump(mode="json"),
        model=", ".join(model.reference for model in models),
        model_sha256=", ".join(model.sha256 for model in models),
    )


def _summary(scan: _Scan) -> ScanSummary:
    results = [entry.result for entry in scan.entries]
    verdicts = Counter(result.verdict for result in results)
    return ScanSummary(
        run=scan.bench.run,
        out=scan.settings.out,
        cases=len(scan.sources.cases),
        accept=verdicts["accept"],
        repair=verdicts["repair"],
        refuse=verdicts["refuse"],
        fail=verdicts["fail"],
        findings=sum(len(result.findings) for result in results),
        partial=sum(not done.is_final for done in scan.done) - sum(map(is_internal_error, results)),
        resumed=scan.resumed,
        skipped=scan.sources.skipped,
        other_files=scan.sources.other_files,
        internal_errors=sum(map(is_internal_error, results)) + internal_errors(scan.dicom),
        sr=sum(each.kind == "sr" and not each.reason for each in scan.dicom),
        seg=sum(each.kind == "seg" and not each.reason for each in scan.dicom),
        without_dicom=len({each.case_id for each in scan.dicom if each.reason}),
        predicted_peak_mb=round(max((d.predicted_peak_mb for d in scan.done), default=0.0), 1),
        measured_peak_mb=round(scan.engine.peak_mb(), 1),
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
        notes=notes_of(scan.drift),
    )


def _write_record(scan: _Scan, summary: ScanSummary, state: RunState) -> None:
    write_record(
        (scan.bench.run, scan.settings.out),
        results=[entry.result for entry in scan.entries],
        detectors=scan.detectors.values(),
        facts={
            "state": state,
            "settings": scan.settings.model_dump(mode="json"),
            "device": scan.device,
            "engine": scan.engine.facts(),
            "drift": scan.drift,
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
