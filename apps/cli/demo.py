"""`medvit demo`: from nothing to a reviewed finding with one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.app import HOST, PORT, serve, url_of
from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.scan import lines_of
from apps.cli.session import Session
from apps.review.launch import require_free_port

if TYPE_CHECKING:
    from pipelines.demo import DemoSummary


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "demo", example="medvit demo --no-app")(demo)


def demo(
    session: Session,
    app: Annotated[bool, typer.Option(help="Open the review app at the end.")] = True,
    port: Annotated[int, typer.Option(help="Port of the app.", min=1, max=65535)] = PORT,
) -> ExitCode:
    """Make sample folders, scan them, and show what was planted beside what was found.

    The samples hold chest CT with known nodules, surface images, and one broken case of
    each kind: these are refused by name, which is not an error here.
    """
    from pipelines.demo import run

    if app:
        require_free_port(port, HOST)
    with session.progress("demo") as advance:
        summary = run(workspace=session.workspace, progress=advance)
    payload = {**summary.as_json(), "url": url_of(HOST, port)}
    session.answer(payload, *([] if session.quiet else []))
    if not session.as_json:
        _show(session, summary)
    if not app:
        session.note(f"review app: medvit app, then {url_of(HOST, port)}")
        return ExitCode.DONE
    session.note(f"review app: {url_of(HOST, port)} (Ctrl-C stops it)")
    serve(session, host=HOST, port=port)
    return ExitCode.DONE
