"""`medvit convert`: CT as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

if TYPE_CHECKING:
    from pipelines.convert import Conversion
    from pipelines.converting.rows import Row


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "convert", example="medvit convert scans/ct-001 ct-001.nii.gz")(convert)


def convert(
    session: Session,
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A series, a volume file, or a folder of them.")
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DST", help="A name ending in .nii, .nii.gz, .mha, .mhd or .ome.zarr."
        ),
    ],
    series: Annotated[
        str, typer.Option(metavar="UID", help="Take only the series with this UID.")
    ] = "",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="ENDING",
            help="Convert every case of SRC into the folder DST: nii.gz, mha, ome.zarr, ...",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there already.")] = False,
) -> ExitCode:
    """Write CT in HU as NIfTI, MetaImage or an OME-Zarr pyramid.

    Values are exact: int16, or float32 where HU have fractions. No patient data go along.
    With --format each case becomes DST/CASE_ID.ENDING, listed in DST/converted.csv; exit
    code 4 when some are refused, 5 when all are.
    """
    from pipelines.convert import ConvertSettings, run

    settings = ConvertSettings(
        source=source, target=target, format=format_, series=series, force=force
    )
    with session.progress("convert") as advance:
        conversion = run(settings, workspace=session.workspace, progress=advance)
    session.answer(conversion.as_json(), *_lines(conversion))
    return _code(conversion)


def _lines(conversion: Conversion) -> list[str]:
    lines = [line for row in conversion.rows for line in _lines_of(row, row.verdict)]
    lines += [line for row in conversion.left_out for line in _lines_of(row, "left out")]
    if conversion.table is not None:
        counts = ", ".join(f"{count} {how}" for how, count in conversion.counts.items())
        lines.append(f"{len(conversion.rows)} cases: {counts}; see {conversion.table}")
    return lines


def _lines_of(row: Row, word: str) -> list[str]:
    judged = row.judged
    head = f"{word:<7} {row.case.source}"
    if row.file is not None and judged.shape is not None and judged.spacing_mm is not None:
        shape = " x ".join(str(side) for side in judged.shape)
        spacing = " x ".join(f"{side:.3g}" for side in judged.spacing_mm)
        how = "kept from an earlier run" if row.is_kept else row.dtype
        head += f"  {shape} at {spacing} mm -> {row.file} ({how})"
    reasons = [f"{each.code}: {each.message}" for each in row.reasons if each.code != "ok"]
    return [head, *(f"        {line}" for line in (*reasons, *row.notes))]


def _code(conversion: Conversion) -> ExitCode:
    counts = conversion.counts
    if counts["converted"] + counts["kept"] == 0:
        return ExitCode.ALL_FAILED
    return ExitCode.SOME_FAILED if counts["refused"] + counts["failed"] else ExitCode.DONE
