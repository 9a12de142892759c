"""`medvit track`, and the option `--mlflow` of the commands that train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

if TYPE_CHECKING:
    from medvit.learn.fit import Progress
    from pipelines.tracking import Tracker

MLFLOW = typer.Option(
    "--mlflow",
    metavar="URI",
    envvar="MEDVIT_MLFLOW",
    help="MLflow server that is told settings and figures, such as http://127.0.0.1:5000.",
)
Mlflow = Annotated[str | None, MLFLOW]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(
        cli, "track", example="medvit track medvit-workspace/runs/train/1 --mlflow sqlite:///a.db"
    )(track)


def track(
    session: Session,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    mlflow: Annotated[str, MLFLOW],
) -> ExitCode:
    """Send runs that ended to an MLflow server: settings and figures, no files.

    What the server has is not sent again.
    """
    from pipelines.tracking import track as send

    answer = send(runs, mlflow)
    lines = [
        f"{each['run']}: {each['new_figures']} new figures, {each['experiment']}, "
        f"run {each['mlflow_run']}"
        for each in answer["runs"]
    ]
    session.answer(answer, *lines)
    return ExitCode.DONE


def tracked(
    job: Callable[..., dict[str, Any]], *, progress: Progress, mlflow: str | None
) -> dict[str, Any]:
    """Run a training and return its answer; an MLflow server, if one is named, is told of it."""
    tracker = tracker_of(mlflow, progress=progress)
    if tracker is None:
        return job(progress=progress)
    try:
        answer = job(progress=tracker)
    except KeyboardInterrupt:
        tracker.end("interrupted")
        raise
    except Exception:
        tracker.end("failed")
        raise
    return {**answer, "mlflow_run": tracker.end("done", Path(answer["run"]))}


def tracker_of(mlflow: str | None, *, progress: Progress | None = None) -> Tracker | None:
    """Return what follows a run, if a server is named.

    Raises:
        ConfigError: If MLflow is missing, or the URI is of no server.
    """
    if not mlflow:
        return None
    from pipelines.tracking import Tracker

    return Tracker(mlflow, progress=progress)
