"""`medvit pretrain` and `medvit train`: a config in, a registered model out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Advance, Session
from apps.cli.tracking import Mlflow, tracked

if TYPE_CHECKING:
    from medvit.learn.fit import EpochReport, Progress

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a shipped config.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that win over the config."),
]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    command(cli, "pretrain", example="medvit pretrain pretrain/vit_defects data.root=images/")(
        pretrain
    )
    command(cli, "train", example="medvit train train/nodule_phantom train.max_minutes=10")(train)


def pretrain(
    session: Session, config: Config, overrides: Overrides = None, mlflow: Mlflow = None
) -> ExitCode:
    """Pretrain a backbone on unlabelled data and register it."""
    from pipelines.pretrain import load, run

    settings = load(config, overrides or ())
    with session.progress("pretrain") as advance:
        job = partial(run, settings, session.workspace)
        answer = tracked(job, progress=_by_epoch(advance), mlflow=mlflow)
    _answer(session, answer)
    return ExitCode.DONE


def train(
    session: Session, config: Config, overrides: Overrides = None, mlflow: Mlflow = None
) -> ExitCode:
    """Train a model as a config says and register it."""
    from pipelines.train import load, run

    settings = load(config, overrides or ())
    with session.progress("train") as advance:
        job = partial(run, settings, session.workspace)
        answer = tracked(job, progress=_by_epoch(advance), mlflow=mlflow)
    _answer(session, answer)
    return ExitCode.DONE


def _by_epoch(advance: Advance) -> Progress:
    def tell(report: EpochReport) -> None:
        advance(report.epoch, report.epochs, f"loss {report.loss:.4f}")

    return tell


def _answer(session: Session, answer: dict[str, Any]) -> None:
    figures = [
        f"{name}: {value}"
        for name, value in answer["metrics"].items()
        if isinstance(value, (int, float, str))
    ]
    lines = [f"model: {answer['model']}", *figures, f"run: {answer['run']}"]
    if answer.get("mlflow_run"):
        lines.append(f"MLflow run: {answer['mlflow_run']}")
    session.answer(answer, *lines)
