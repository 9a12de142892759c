"""`medvit evaluate`: how good predictions are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

PREDICTIONS = (
    "CSV: seriesuid,coordX,coordY,coordZ,probability; `medvit scan --write luna16` makes one."
)


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Measure predictions against labels.",
        epilog="Example: medvit evaluate froc --predictions P.csv --annotations A.csv",
    )
    command(
        group,
        "froc",
        example="medvit evaluate froc --predictions luna16.csv --annotations annotations.csv",
    )(froc)
    cli.add_typer(group, name="evaluate")


def froc(
    session: Session,
    predictions: Annotated[Path, typer.Option(help=PREDICTIONS)],
    annotations: Annotated[
        Path, typer.Option(help="CSV: seriesuid,coordX,coordY,coordZ,diameter_mm.")
    ],
    excluded: Annotated[
        Path | None, typer.Option(help="CSV of findings that count neither way.")
    ] = None,
    series: Annotated[Path | None, typer.Option(help="CSV of the scans that count.")] = None,
) -> ExitCode:
    """Score nodule predictions by the rules of LUNA16."""
    from pipelines.evaluate import FrocSettings, run_froc

    settings = FrocSettings(
        predictions=predictions, annotations=annotations, excluded=excluded, series=series
    )
    result = run_froc(settings, workspace=session.workspace)
    rows = zip(result["fp_per_scan"], result["sensitivity"], strict=True)
    lines = [f"{rate:>6g} false positives a scan: sensitivity {found:.4f}" for rate, found in rows]
    counts = f"{result['n_annotations']} nodules in {result['n_scans']} scans"
    session.answer(result, *lines, f"mean {result['cpm']:.4f} on {counts}")
    return ExitCode.DONE
