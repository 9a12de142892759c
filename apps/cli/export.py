"""`medvit export`: a model for other programs, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "export", example="medvit export steel-defects --format onnx --out steel-onnx")(
        export
    )


def export(  # noqa: PLR0913, PLR0917
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME or NAME@VERSION.")],
    format_: Annotated[
        str, typer.Option("--format", help="onnx, onnx-int8, tensorrt or torch.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A new or empty folder; else in the run folder."),
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Images or CT to compare on; else made ones."),
    ] = None,
    most_cases: Annotated[int, typer.Option(help="Images or tiles compared at most.", min=1)] = 200,
    tile_side: Annotated[
        int, typer.Option(help="Voxels on a side of a CT tile, which the graph keeps.", min=8)
    ] = 96,
) -> ExitCode:
    """Write a model for other programs, and compare it with its source case by case.

    Exit code 6 when the two disagree: then only parity.json is left, which says why.
    """
    from pipelines.export import ExportSettings, run

    settings = ExportSettings(model, format_, out, cases, most_cases, tile_side)
    with session.progress("export") as advance:
        answer = run(settings, workspace=session.workspace, progress=advance)
    parity = answer["parity"]
    latency = parity["latency_ms"]
    session.answer(
        answer,
        f"{answer['model']} as {answer['format']}: {answer['file']}",
        f"compared on {parity['origin']}: outputs differ by {parity['max_abs_diff']:.1e} at most, "
        f"{parity['flips']} of {parity['decisions']} decisions changed",
        f"median {latency['exported']['p50']} ms, source {latency['source']['p50']} ms",
        *parity["notes"],
    )
    return ExitCode.DONE
