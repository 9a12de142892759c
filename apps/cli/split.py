"""`medvit split`: sides that share no piece of surface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

SHOWN = 10


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "split", example="medvit split images/ --out manifest.csv")(split)


def split(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    source: Annotated[
        Path, typer.Argument(metavar="MANIFEST|FOLDER", help="A manifest, or labelled images.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Manifest to write; default: NAME-split.csv, here.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, if not beside the labels.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Judge the split that is there.")] = False,
    group_by: Annotated[
        Literal["near-duplicates", "pattern", "column"],
        typer.Option(help="What keeps images together; near-duplicates adds to the column group."),
    ] = "near-duplicates",
    pattern: Annotated[
        str, typer.Option(help="Regular expression; its (group) in the file name is the group.")
    ] = "",
    turned: Annotated[
        bool, typer.Option("--turned", help="Find mirrored and turned copies too; 15x the time.")
    ] = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Write a split although it leaks.")
    ] = False,
    val: Annotated[float, typer.Option(min=0, max=0.9, help="Share for calibration.")] = 0.15,
    test: Annotated[float, typer.Option(min=0, max=0.9, help="Share for the figures.")] = 0.20,
) -> ExitCode:
    """Split a data set by groups, and show every pair that would leak.

    A side that is given in the manifest stays; exit code 6 when the split leaks.
    """
    from pipelines.split import SplitSettings, run

    settings = SplitSettings(
        source=source,
        out=out,
        images=images,
        check=check,
        group_by=group_by,
        pattern=pattern,
        turned=turned,
        allow_leaks=allow_leaks,
        val=val,
        test=test,
    )
    with session.progress("split") as advance:
        result = run(settings, session.workspace, progress=advance)
    for problem in result.problems[:SHOWN]:
        session.note(f"{problem.file}: {problem.message}")
    if len(result.problems) > SHOWN:
        session.note(f"... and {len(result.problems) - SHOWN} more remarks, see the report")
    lines = [
        f"leak: {leak.first} ({leak.first_split}) and {leak.second} ({leak.second_split})"
        for leak in result.leaks[:SHOWN]
    ]
    if len(result.leaks) > SHOWN:
        lines.append(f"... and {len(result.leaks) - SHOWN} more leaks")
    sides = ", ".join(f"{count} {name}" for name, count in sorted(result.counts.items()))
    lines += [f"{result.groups} groups; {sides}", f"report: {result.run / 'report.html'}"]
    if result.manifest is not None and not check:
        lines.append(f"manifest: {result.manifest}")
    session.answer(result.as_json(), *lines)
    return ExitCode.GATE_REFUSED if result.leaks and not allow_leaks else ExitCode.DONE
