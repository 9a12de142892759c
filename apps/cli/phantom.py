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
    command(cli, "phantom", example="medvit phantom practice/ --count 3 --seed 7 --slice-mm 1.25")(
        phantom
    )


def phantom(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    count: Annotated[int, typer.Option(min=1, help="How many scans or images.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same data.")] = 0,
    kind: Annotated[
        Literal["ct", "surface"], typer.Option(help="Chest CT with nodules, or defect images.")
    ] = "ct",
    slice_mm: Annotated[
        float | None,
        typer.Option(min=0.5, max=5, help="Distance of slices; drawn for each scan if not given."),
    ] = None,
    image_px: Annotated[
        int, typer.Option(min=64, max=1024, help="Pixels on a side of a slice.")
    ] = 320,
    nodules: Annotated[
        int | None, typer.Option(min=0, max=30, help="Nodules in each scan; 1 to 6 if not given.")
    ] = None,
    nodule_kinds: Annotated[
        str,
        typer.Option(help="Only these, with commas: solid, part_solid, ground_glass, calcified."),
    ] = "",
) -> ExitCode:
    """Make labelled practice data.

    ct: DICOM series with annotations.csv (LUNA16 columns), nodules.csv (with kind and site) and
    distractors.csv; surface: images with a manifest and COCO boxes. A run that was cut off goes
    on when it is called again.
    """
    from pipelines.phantom import PhantomSettings, parse_kinds, run

    settings = PhantomSettings(
        out=out,
        count=count,
        seed=seed,
        kind=kind,
        slice_mm=slice_mm,
        image_px=image_px,
        nodules=nodules,
        nodule_kinds=parse_kinds(nodule_kinds),
    )
    with session.progress("phantom") as advance:
        summary = run(settings, workspace=session.workspace, progress=advance)
    session.answer(summary.as_json(), f"{count} made in {out}")
    return ExitCode.DONE
