"""`medvit plan`: from a look at the data to a config with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

SHOWN = 10


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "plan", example="medvit plan manifest.csv --out train.yaml")(plan)


def plan(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    source: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="A manifest, or labelled images.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Config to write; default: NAME.yaml, here.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, if not beside the labels.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model; default: that of the data.")] = "",
    weights: Annotated[
        str,
        typer.Option(
            help="A registered model to start from, none, or auto: the shipped one where it pays."
        ),
    ] = "auto",
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Choose the lightest network.")
    ] = False,
) -> ExitCode:
    """Look at a data set and write a training config with one reason a choice."""
    from pipelines.plan import PlanSettings, run

    settings = PlanSettings(
        source=source, out=out, images=images, name=name, weights=weights, realtime=realtime
    )
    with session.progress("plan") as advance:
        result = run(settings, session.workspace, progress=advance)
    for problem in result.problems[:SHOWN]:
        session.note(f"{problem.file}: {problem.message}")
    lines = [f"{each.key}: {each.value}  # {each.reason}" for each in result.choices]
    lines += [f"note: {note}" for note in result.notes]
    lines += [f"manifest: {result.manifest}", f"config: {result.config}"]
    session.answer(result.as_json(), *lines)
    return ExitCode.DONE
