"""How a function becomes a command: shared options, errors, exit codes."""

from __future__ import annotations

import inspect
import json
import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from apps.cli.exit_codes import ExitCode, code_of
from apps.cli.session import Session
from medvit.errors import MedvitError
from medvit.workspace import Workspace
from pipelines.full_disk import is_full_disk

SHARED: dict[str, tuple[Any, Any]] = {
    "workspace": (
        Annotated[
            Path,
            typer.Option(
                envvar="MEDVIT_WORKSPACE",
                help="Folder of the store, models, runs and cache.",
                rich_help_panel="Shared options",
            ),
        ],
        Path("medvit-workspace"),
    ),
    "store": (
        Annotated[
            str,
            typer.Option(
                envvar="MEDVIT_STORE",
                help="Database URL in place of the workspace's SQLite file.",
                rich_help_panel="Shared options",
            ),
        ],
        "",
    ),
    "as_json": (
        Annotated[
            bool,
            typer.Option(
                "--json", help="One JSON object on stdout.", rich_help_panel="Shared options"
            ),
        ],
        False,
    ),
    "quiet": (
        Annotated[
            bool,
            typer.Option("--quiet", help="Errors only.", rich_help_panel="Shared options"),
        ],
        False,
    ),
}


def command(
    app: typer.Typer, name: str, *, example: str
) -> Callable[[Callable[..., ExitCode]], Callable[..., ExitCode]]:
    """Add a function to a Typer app as a command with the shared options.

    The function takes a `Session` first, then its own options; its docstring is
    the help, and `example` is shown under it.
    """

    def decorate(function: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
        def run(**values: Any) -> int:
            session = _session(values)
            return int(guarded(lambda: function(session, **values), as_json=session.as_json))

        run.__doc__ = function.__doc__
        _sign(run, function)
        app.command(name, epilog=f"Example: {example}")(run)
        return function

    return decorate


def guarded(job: Callable[[], ExitCode], *, as_json: bool) -> ExitCode:
    """Run a job; turn what it raises into a message and an exit code."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return job()
    except MedvitError as error:
        report(error.code, error.message, error.hint, as_json=as_json)
        return code_of(error)
    except KeyboardInterrupt:
        hint = "the same command goes on where this one stopped"
        report("interrupted", "interrupted", hint, as_json=as_json)
        return ExitCode.INTERRUPTED
    except Exception as error:
        if is_full_disk(error):
            hint = "free some space, and give the same command again"
            report("input", f"the disk takes no more: {error}", hint, as_json=as_json)
            return ExitCode.UNUSABLE
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        report("bug", message, "this is a fault in medvit; please report it", as_json=as_json)
        return ExitCode.BUG
    finally:
        signal.signal(signal.SIGTERM, before)


def report(code: str, message: str, hint: str, *, as_json: bool) -> None:
    """Tell an error: as JSON on stdout, or as sentences on stderr."""
    if as_json:
        error = {"code": code, "message": message, "hint": hint}
        print(json.dumps({"error": error}, ensure_ascii=False))
        return
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def _session(values: dict[str, Any]) -> Session:
    """Take the shared options out of a command's values."""
    workspace = Workspace(values.pop("workspace"), store=values.pop("store"))
    session = Session(workspace, as_json=values.pop("as_json"), quiet=values.pop("quiet"))
    _hush(quiet=session.quiet)
    return session


def _hush(*, quiet: bool) -> None:
    """Keep library chatter off stderr; pydicom's messages quote what is in the file."""
    for name in ("medvit", "pipelines", "apps"):
        logging.getLogger(name).setLevel(logging.ERROR if quiet else logging.WARNING)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _sign(run: Callable[..., int], function: Callable[..., ExitCode]) -> None:
    """Give a wrapper the options of a function and the shared ones."""
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )
        for each in own
    ]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in SHARED.items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
