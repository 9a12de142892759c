"""`medvit doctor`: is this installation whole."""

from __future__ import annotations

from dataclasses import asdict

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "doctor", example="medvit doctor")(doctor)


def doctor(session: Session) -> ExitCode:
    """Check the installation: packages, device, decoders, models, store, name clashes.

    Exit code 2 when something is broken.
    """
    from pipelines.doctor import run

    checks = run(workspace=session.workspace)
    lines = []
    for check in checks:
        lines.append(f"{'ok    ' if check.ok else 'BROKEN'} {check.name}: {check.found}")
        lines += [f"       {check.hint}"] if check.hint and not check.ok else []
    whole = all(check.ok for check in checks)
    session.answer({"ok": whole, "checks": [asdict(check) for check in checks]}, *lines)
    return ExitCode.DONE if whole else ExitCode.UNUSABLE
