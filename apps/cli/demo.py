"""`medvit demo`: from nothing to findings beside what was planted, with one command."""

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

TITLES = {"nodule": "nodules in made CT", "defect": "steel defects", "broken": "broken cases"}


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "demo", example="medvit demo --no-app")(demo)


def demo(
    session: Session,
    app: Annotated[bool, typer.Option(help="Open the review app at the end.")] = True,
    port: Annotated[int, typer.Option(help="Port of the app.", min=1, max=65535)] = PORT,
) -> ExitCode:
    """Make sample folders, scan them, and show what was planted beside what was found.

    The samples are made chest CT with known nodules, steel images, and one broken case
    of each kind: that those are refused by name is no error here.
    """
    from pipelines.demo import run

    if app:
        require_free_port(port, HOST)
    with session.progress("demo") as advance:
        summary = run(workspace=session.workspace, progress=advance)
    url = url_of(HOST, port)
    if session.as_json:
        session.answer({**summary.as_json(), "url": url})
    else:
        _show(session, summary)
    if not app:
        session.note(f"to review the findings: medvit app, then open {url}")
        return _code(summary)
    session.note(f"review app: {url} (Ctrl-C stops it)")
    serve(session, host=HOST, port=port)
    return _code(summary)


def _code(summary: DemoSummary) -> ExitCode:
    return ExitCode.BUG if summary.scan.internal_errors else ExitCode.DONE


def _show(session: Session, summary: DemoSummary) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = session.console()
    table = Table("", "Case", "Planted", "Found", title="Planted and found", title_justify="left")
    last = ""
    for each in summary.planted:
        if last and each.kind != last:
            table.add_section()
        last = each.kind
        mark = "[green]yes[/]" if each.hit else "[red]no[/]"
        table.add_row(mark, escape(each.source), escape(each.planted), escape(each.found))
    console.print(table)
    for kind, title in TITLES.items():
        hits, of = summary.hits(kind)
        console.print(f"{title}: {hits} of {of}")
    console.print(f"marks where no nodule is: {summary.false_marks}")
    for line in lines_of(summary.scan):
        console.print(line, soft_wrap=True, markup=False)
