"""`medvit inspect`: what a folder holds, before any model sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

if TYPE_CHECKING:
    from medvit.io.case import Case
    from medvit.io.verdict import Triage


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "inspect", example="medvit inspect scans/")(inspect)


def inspect(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder or a file.")],
) -> ExitCode:
    """Say of every case whether it can be used, and why not.

    Needs no model. Exit code 4 when a case is refused.
    """
    from pipelines.inspect import run

    with session.progress("inspect") as advance:
        inspection = run(path, workspace=session.workspace, progress=advance)
    lines = [line for case, judged in inspection.cases for line in _lines(case, judged)]
    total = f"{len(inspection.cases)} cases, {inspection.refused} refused"
    session.answer(inspection.as_json(), *lines, total)
    return ExitCode.SOME_FAILED if inspection.refused else ExitCode.DONE


def _lines(case: Case, judged: Triage) -> list[str]:
    shape = "" if judged.shape is None else " x ".join(str(side) for side in judged.shape)
    spacing = judged.spacing_mm
    mm = "" if spacing is None else " at " + " x ".join(f"{side:.3g}" for side in spacing) + " mm"
    head = f"{judged.verdict:<7} {case.source}  {shape}{mm}".rstrip()
    reasons = [each for each in judged.reasons if each.code != "ok"]
    return [head, *(f"        {each.code}: {each.message}" for each in reasons)]
