"""`medvit check-identity`: whether patients can be told from what a scan left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

if TYPE_CHECKING:
    from pipelines.check_identity import IdentityCheck


def register(cli: typer.Typer) -> None:
    """Add the command."""
    example = "medvit check-identity out/scans --source scans/"
    command(cli, "check-identity", example=example)(check_identity)


def check_identity(
    session: Session,
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Output or run folder of a scan, or a file.")
    ],
    source: Annotated[Path, typer.Option(help="The DICOM scans behind it.")],
) -> ExitCode:
    """Search files for names, numbers and addresses of the scanned patients.

    Tells file, attribute and place, never the value. Exit code 6 when something
    leaked, 4 when a file could not be read to the end.
    """
    from pipelines.check_identity import run as check

    with session.progress("check") as advance:
        found = check(run, source=source, workspace=session.workspace, progress=advance)
    session.answer(found.as_json(), *_lines(found))
    if found.leaks:
        return ExitCode.GATE_REFUSED
    return ExitCode.SOME_FAILED if found.unreadable else ExitCode.DONE


def _lines(found: IdentityCheck) -> list[str]:
    skipped = sum(found.values_skipped.values())
    left_out = f" ({skipped} more are too short or too common)" if skipped else ""
    return [
        *(
            f"{leak.file}: {leak.keyword}, {leak.count}x, first: {leak.where}"
            for leak in found.leaks
        ),
        *(f"{name}: could not be read to the end" for name in found.unreadable),
        f"{found.values_checked} values{left_out} in {found.files_checked} files: "
        f"{len(found.leaks) or 'no'} leaks",
    ]
