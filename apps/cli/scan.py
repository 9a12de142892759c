"""`medvit scan`: folders in, findings out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session
from medvit.errors import InputError

if TYPE_CHECKING:
    from pipelines.scan import ScanSettings, ScanSummary

EXTRAS = ("luna16", "sr", "seg", "coco")


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "scan", example="medvit scan scans/ --out out/scans")(scan)


def scan(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Folders or files to scan.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables and report; a rerun goes on there.")],
    task: Annotated[
        Literal["auto", "nodule", "defect"],
        typer.Option(help="What to look for; auto: nodules in CT, defects in images."),
    ] = "auto",
    model: Annotated[
        str, typer.Option(metavar="NAME[@VERSION]", help="Model to use; default: the shipped one.")
    ] = "",
    write: Annotated[
        str, typer.Option(metavar="LIST", help="More files, by commas: luna16, sr, seg, coco.")
    ] = "",
    max_ram: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Memory the scan may hold, as 2G or 1500M; default: most of what is free.",
        ),
    ] = "",
    effort: Annotated[
        Literal["fast", "balanced", "full"],
        typer.Option(help="How much of the lungs is looked at in CT."),
    ] = "balanced",
    views: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Mirrored views of CT that are averaged: 1, 2, 4 or 8; time grows with them.",
        ),
    ] = 1,
    deadline: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="End with the best answer so far after so many seconds; 0: when all is done.",
        ),
    ] = 0.0,
    fp_per_scan: Annotated[
        float,
        typer.Option(
            metavar="RATE",
            min=0,
            help="Threshold for at most so many false nodules a CT; 0: the model's own.",
        ),
    ] = 0.0,
    miss_rate: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Threshold that promises to miss no larger share of nodules; 0: the model's own.",
        ),
    ] = 0.0,
    engine: Annotated[
        Literal["local", "dask"],
        typer.Option(help="Who scans: this process, or workers of a dask cluster."),
    ] = "local",
    scheduler: Annotated[
        str,
        typer.Option(
            metavar="ADDR",
            help="Dask scheduler, as tcp://10.0.0.7:8786; default: workers on this machine.",
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Workers on this machine; 0: as many as there is room for."
        ),
    ] = 0,
    keep_identity: Annotated[
        bool,
        typer.Option(
            "--keep-identity", help="Name patient and study in SR and SEG as the images do."
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on scanning what arrives whole, until Ctrl-C."),
    ] = False,
) -> ExitCode:
    """Find nodules in CT scans and defects in images.

    Writes cases.csv, findings.csv, report.html and run.json into --out. A scan that
    was stopped goes on when the same command is given again.
    """
    from medvit.tiles.budget import parse_bytes
    from medvit.tiles.resident import settle_allocator

    settle_allocator()  # before anything starts a thread
    from medvit.inference.flips import VIEWS
    from pipelines.scan import ScanSettings, run

    if views not in VIEWS:
        msg = f"--views {views}: a tile has {', '.join(map(str, VIEWS))} mirrored views"
        raise InputError(msg, hint="1 is the usual; 8 takes eight times as long")
    extras = [word.strip() for word in write.split(",") if word.strip()]
    for extra in extras:
        if extra not in EXTRAS:
            msg = f"--write {extra}: no such format"
            raise InputError(msg, hint=f"formats: {', '.join(EXTRAS)}")
    settings = ScanSettings(
        sources=tuple(sources),
        out=out,
        task=task,
        model=model or None,
        write=tuple(extras),
        max_ram_bytes=parse_bytes(max_ram) if max_ram else None,
        effort=effort,
        views=views,
        deadline_s=deadline or None,
        fp_per_scan=fp_per_scan or None,
        miss_rate=miss_rate or None,
        engine=engine,
        scheduler=scheduler or None,
        workers=workers or None,
        keep_identity=keep_identity,
    )
    if keep_identity and not {"sr", "seg"} & set(extras):
        session.note("--keep-identity changes nothing without --write sr or seg")
    if watch:
        return _watch(session, settings)
    with session.progress("scan") as advance:
        summary = run(settings, workspace=session.workspace, progress=advance)
    session.answer(summary.as_json(), *lines_of(summary))
    return code_of_scan(summary)


def _watch(session: Session, settings: ScanSettings) -> ExitCode:
    """Scan what arrives; only an interrupt ends it, with the exit code of one."""
    from pipelines.watch import watch

    session.note(f"watching; tables and report in {settings.out}; Ctrl-C ends it")
    with session.progress("watch") as advance:
        watch(settings, workspace=session.workspace, progress=advance)
    return ExitCode.DONE


def lines_of(summary: ScanSummary) -> list[str]:
    """Return a scan's summary for people."""
    verdicts = ("accept", "repair", "refuse", "fail")
    counts = ", ".join(f"{getattr(summary, name)} {name}" for name in verdicts)
    resumed = f" ({summary.resumed} of them done before)" if summary.resumed else ""
    lines = [
        f"{summary.cases} cases{resumed}: {counts}; {summary.findings} findings",
        f"{summary.seconds:.1f} s, peak memory {summary.measured_peak_mb:.0f} MiB "
        f"({summary.predicted_peak_mb:.0f} predicted)",
        f"report: {summary.out / 'report.html'}",
    ]
    if summary.partial:
        lines.append(
            f"{summary.partial} cases are unfinished: see cases.csv; the same command goes on"
        )
    if summary.sr or summary.seg:
        lines.append(f"DICOM: {summary.sr} SR, {summary.seg} SEG in {summary.out / 'dicom'}")
    if summary.without_dicom:
        where = summary.out / "run.json"
        lines.append(f"{summary.without_dicom} cases got no SR or SEG: see left_out in {where}")
    if summary.internal_errors:
        log = summary.run / "errors.log"
        lines.append(f"{summary.internal_errors} cases met a fault in medvit itself: see {log}")
    return lines


def code_of_scan(summary: ScanSummary) -> ExitCode:
    """Return the exit code that a scan ends with."""
    if summary.internal_errors:
        return ExitCode.BUG
    if summary.accept + summary.repair + summary.partial == 0:
        return ExitCode.ALL_FAILED
    unfinished = summary.refuse + summary.fail + summary.partial
    return ExitCode.SOME_FAILED if unfinished else ExitCode.DONE
