"""`medvit phantom`: practice data with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "phantom", example="medvit phantom practice/ --count 3 --seed 7")(phantom)


def phantom(
    session: Session,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    count: Annotated[int, typer.Option(min=1, help="How many scans or images.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same data.")] = 0,
    kind: Annotated[
        Literal["ct", "surface"], typer.Option(help="Chest CT with nodules, or defect images.")
    ] = "ct",
) -> ExitCode:
    """Make labelled practice data.

    ct: DICOM series with annotations.csv; surface: images with a manifest and COCO boxes.
    """
    from pipelines.phantom import PhantomSettings, run

    settings = PhantomSettings(out=out, count=count, seed=seed, kind=kind)
    with session.progress("phantom") as advance:
        summary = run(settings, workspace=session.workspace, progress=advance)
    session.answer(summary.as_json(), f"{count} made in {out}")
    return ExitCode.DONE
