"""`medvit explain`: where a model looked, with a figure of how true the map is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

ENOUGH = 0.9
"""Share of random maps that a map should beat; below that its picture says little."""


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "explain", example="medvit explain plate.png --method gradcam")(explain)


def explain(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    case: Annotated[
        str, typer.Argument(metavar="CASE", help="An image file, or the id of a case or finding.")
    ],
    method: Annotated[
        Literal["gradcam", "eigencam", "rollout", "evidence"],
        typer.Option(help="gradcam and evidence ask about a class; the others where it looked."),
    ] = "gradcam",
    label: Annotated[str, typer.Option(help="Class to explain; else the most probable.")] = "",
    model: Annotated[
        str, typer.Option(metavar="NAME[@VERSION]", help="Else the one that made the finding.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; else the run folder.")
    ] = None,
    steps: Annotated[
        int, typer.Option(min=2, max=256, help="Pieces in which the image goes and comes.")
    ] = 16,
    random_maps: Annotated[
        int, typer.Option(min=1, max=100, help="Maps of noise to compare with.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of that noise.")] = 0,
) -> ExitCode:
    """Draw a heat map of one case, and measure how true it is beside maps of noise."""
    from pipelines.explain import ExplainSettings, run

    settings = ExplainSettings(
        case=case,
        method=method,
        label=label,
        model=model,
        out=out,
        steps=steps,
        random_maps=random_maps,
        seed=seed,
    )
    answer = run(settings, workspace=session.workspace)
    true, chance = answer["faithfulness"], answer["faithfulness"]["random"]
    lines = [
        f"{answer['method']}: {answer['title']}, by {answer['model']}",
        f"{answer['label']}: probability {answer['probability']:.3f}",
        f"deletion {true['deletion_auc']:.3f} (random maps {chance['deletion_auc']:.3f}; low is "
        f"good), insertion {true['insertion_auc']:.3f} (random maps {chance['insertion_auc']:.3f}; "
        "high is good)",
        f"truer than {true['beaten']:.0%} of {chance['maps']} random maps",
    ]
    if true["beaten"] < ENOUGH:
        session.note("note: this map is hardly truer than noise; do not trust its picture")
    session.answer(answer, *lines, f"picture: {answer['picture']}")
    return ExitCode.DONE
