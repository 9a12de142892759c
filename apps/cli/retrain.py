"""`medvit retrain`: what readers decided becomes a challenger, and the gate judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session
from apps.cli.tracking import Mlflow, tracker_of
from pipelines.retraining.strategy import Strategy

if TYPE_CHECKING:
    from pipelines.retrain import RetrainResult


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "retrain", example="medvit retrain --task defect --min-labels 20 --promote")(
        retrain
    )


def retrain(  # noqa: PLR0913, PLR0917 - one parameter an option
    session: Session,
    task: Annotated[
        Literal["defect", "nodule"] | None,
        typer.Option(help="Whose decisions; needed where there are some for both."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Champion; default: the task's production model."),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Into production, if the gate says so.")
    ] = False,
    min_labels: Annotated[
        int, typer.Option(help="Do nothing (exit 3) with fewer new labels.", min=1)
    ] = 1,
    strategy: Annotated[
        Literal["auto", Strategy],
        typer.Option(help="How much learns; auto goes by the number of new labels."),
    ] = "auto",
    consensus: Annotated[
        Literal["weighted", "majority"], typer.Option(help="How several readers become one label.")
    ] = "weighted",
    max_minutes: Annotated[
        float | None, typer.Option(help="End learning after this time, cleanly.", min=0.001)
    ] = None,
    by: Annotated[
        str, typer.Option(help="Who is named in the history of production.")
    ] = "medvit retrain",
    mlflow: Mlflow = None,
) -> ExitCode:
    """Train a challenger on what readers decided, and let the gate compare it.

    Exit 3: nothing is new. Exit 6: the gate refused. Ctrl-C: the same command goes on.
    """
    from pipelines.retrain import RetrainSettings, run

    settings = RetrainSettings(
        task=task,
        model=model,
        promote=promote,
        min_labels=min_labels,
        strategy=strategy,
        consensus=consensus,
        max_minutes=max_minutes,
        by=by,
    )
    tracker = tracker_of(mlflow)
    with session.progress("retrain") as advance:
        result = run(settings, session.workspace, progress=advance)
    sent = {"mlflow_run": tracker.end("done", result.run)} if tracker else {}
    lines = [f"MLflow run: {sent['mlflow_run']}"] if sent.get("mlflow_run") else []
    session.answer({**result.as_json(), **sent}, *_lines(result), *lines)
    return ExitCode.GATE_REFUSED if result.gate.verdict == "refuse" else ExitCode.DONE


def _lines(result: RetrainResult) -> list[str]:
    lines = [
        f"model: {result.model}, made of {result.champion} and {result.new_labels} new labels",
        f"strategy: {result.plan['strategy']}: {result.plan['reason']}",
        f"gate: {result.gate.verdict}",
        *(f"  {reason}" for reason in result.gate.reasons),
        *(f"  warning: {warning}" for warning in result.gate.warnings),
    ]
    for name, row in result.metrics.get("forgetting", {}).items():
        before, after = 100 * row["before"], 100 * row["after"]
        lines.append(f"  {name}: {before:.1f} % before, {after:.1f} % after, {row['n']} cases")
    if result.disagreements:
        lines.append(f"{result.disagreements} cases on which readers disagree are in the queue")
    if result.suspects:
        lines.append(f"{len(result.suspects)} labels that look wrong are in the queue")
    lines += [f"left out: {sentence}" for sentence in result.left_out]
    if result.gate.report:
        lines.append(f"report: {result.gate.report}")
    ends = "is in production now" if result.is_promoted else "is not in production"
    return [*lines, f"{result.model} {ends}"]
