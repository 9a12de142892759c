"""`medvit models`: what is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

if TYPE_CHECKING:
    from medvit.registry.registry import ModelVersion


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="List and show registered models.",
        epilog="Example: medvit models list",
    )
    command(group, "list", example="medvit models list")(list_all)
    command(group, "show", example="medvit models show nodule-swin3d")(show)
    cli.add_typer(group, name="models")


def list_all(session: Session) -> ExitCode:
    """List every version of every model, shipped and your own."""
    from medvit.registry.registry import list_models

    models = list_models(session.workspace.models)
    lines = [
        f"{'*' if each.production else ' '} {each.reference:<32} {each.task}" for each in models
    ]
    payload = {"models": [_plain(each) for each in models]}
    session.answer(payload, *(lines or ["no models"]))
    return ExitCode.DONE


def show(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Which model.")],
) -> ExitCode:
    """Show what a model was trained on and how it measures."""
    from medvit.models.weights import read_card
    from medvit.registry.registry import find_model

    version = find_model(name, models=session.workspace.models)
    card = read_card(version.folder).model_dump(mode="json")
    lines = [f"{key}: {value}" for key, value in card.items()]
    session.answer({**_plain(version), "card": card}, *lines, f"folder: {version.folder}")
    return ExitCode.DONE


def _plain(version: ModelVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "task": version.task,
        "production": version.production,
        "metrics": version.metrics,
        "sha256": version.sha256,
    }
