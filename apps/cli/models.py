"""`medvit models`: what is registered, what is in production, and which of two is better."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

if TYPE_CHECKING:
    from medvit.registry.history import Change
    from medvit.registry.registry import ModelVersion

Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Which model.")]
By = Annotated[str, typer.Option(help="Who decides; without it, whoever is signed in here.")]
Reason = Annotated[str, typer.Option(help="Why; kept for ever.")]

EXAMPLES = {
    "list": "medvit models list",
    "show": "medvit models show nodule-swin3d",
    "verify": "medvit models verify steel-defects",
    "import": "medvit models import efficientnet_lite0",
    "compare": "medvit models compare steel-defects steel-defects@2 --manifest manifest.csv",
    "promote": 'medvit models promote steel-defects@2 --reason "learned scale"',
    "rollback": 'medvit models rollback steel-defects --reason "too many false marks"',
    "history": "medvit models history steel-defects",
    "gc": "medvit models gc --delete",
}


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="List, compare, promote and check registered models.",
        epilog="Example: medvit models list",
    )
    functions: tuple[Callable[..., ExitCode], ...] = (
        list_all,
        show,
        verify,
        import_weights,
        compare,
        promote,
        rollback,
        history,
        gc,
    )
    for (name, example), function in zip(EXAMPLES.items(), functions, strict=True):
        command(group, name, example=example)(function)
    cli.add_typer(group, name="models")


def list_all(session: Session) -> ExitCode:
    """List every version of every model, shipped and your own."""
    from medvit.registry.registry import list_models

    models = list_models(session.workspace.models)
    width = max((len(each.reference) for each in models), default=0)
    lines = [
        f"{'*' if each.production else ' '} {each.reference:<{width}}  {each.task:<8}  "
        f"{each.measured}".rstrip()
        for each in models
    ]
    payload = {"models": [_plain(each) for each in models]}
    session.answer(payload, *([*lines, "* in production"] if lines else ["no models"]))
    return ExitCode.DONE


def show(session: Session, name: Reference) -> ExitCode:
    """Show what a model was trained on and how it measures."""
    from medvit.models.card import read_card
    from medvit.registry.registry import README, find_model

    version = find_model(name, models=session.workspace.models)
    card = read_card(version.folder)
    text = version.folder / README
    told = text.read_text(encoding="utf-8").splitlines() if text.is_file() else [card.reference]
    facts = {
        "task": version.task,
        "in production": "yes" if version.production else "no",
        "measured": version.measured or "-",
        "trained from": ", ".join(card.parents) or "nothing",
        "sha256": version.sha256,
        "folder": version.folder,
        "all of it": f"medvit models show {version.reference} --json",
    }
    lines = [f"{key + ':':<14} {value}" for key, value in facts.items()]
    payload = {**_plain(version), "card": card.model_dump(mode="json")}
    session.answer(payload, *told, "", *lines)
    return ExitCode.DONE


def verify(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME[@VERSION]]", help="Which model; all without it.")
    ] = None,
) -> ExitCode:
    """Hash every file, follow every history; exit with 6 if one is not as it was written."""
    from medvit.registry.integrity import verify as check

    checked = check(session.workspace.models, name)
    faults = [
        {"model": each.model, "file": str(each.file), "message": each.message}
        for each in checked.faults
    ]
    lines = [f"{each['model']}: {each['file']}: {each['message']}" for each in faults]
    lines.append(f"{len(checked.models)} versions checked, {len(faults)} faults")
    session.answer({"checked": checked.models, "faults": faults}, *lines)
    return ExitCode.GATE_REFUSED if faults else ExitCode.DONE


def import_weights(
    session: Session,
    network: Annotated[Literal["efficientnet_lite0"], typer.Argument(help="Which network.")],
    name: Annotated[str, typer.Option(help="What it is registered as.")] = "imagenet-lite0",
    file: Annotated[
        Path | None, typer.Option(help="File of weights; else that of medvit[imagenet].")
    ] = None,
    channels: Annotated[
        Literal["grey", "colour"], typer.Option(help="Of the images it will see.")
    ] = "grey",
) -> ExitCode:
    """Register a backbone with weights that others trained, to start trainings from."""
    from pipelines.import_model import ImportSettings, import_model

    settings = ImportSettings(network=network, name=name, file=file, channels=channels)
    answer = import_model(settings, workspace=session.workspace)
    start = f"start from it: model.backbone={network} model.weights={answer['model']}"
    session.answer(answer, answer["model"], start)
    return ExitCode.DONE


def compare(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    champion: Annotated[str, typer.Argument(metavar="A", help="Champion: NAME[@VERSION].")],
    challenger: Annotated[str, typer.Argument(metavar="B", help="Challenger: NAME[@VERSION].")],
    manifest: Annotated[
        Path | None, typer.Option(help="Labelled images; CSV: path,label,split,group.")
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"], typer.Option(help="Images that are judged.")
    ] = "test",
    root: Annotated[
        Path | None, typer.Option(help="What paths are relative to; else the manifest's folder.")
    ] = None,
    scans: Annotated[
        Path | None, typer.Option(help="Folder of annotated scans, for nodule detectors.")
    ] = None,
    layout: Annotated[
        Literal["luna16", "lidc", "decathlon", "csv"],
        typer.Option("--format", help="How the scans are annotated."),
    ] = "luna16",
    annotations: Annotated[
        Path | None, typer.Option(help="Boxes of the manifest's images; or nodules, if elsewhere.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(min=0, max=0.5, help="Loss that is borne; 0.01 without it.")
    ] = None,
) -> ExitCode:
    """Hold two models against each other on the same frozen cases; exit with 6 on a refusal."""
    from pipelines.models import CompareSettings, compare_models

    settings = CompareSettings(
        champion=champion,
        challenger=challenger,
        manifest=manifest,
        split=split,
        root=root,
        scans=scans,
        format=layout,
        annotations=annotations,
        margin=margin,
    )
    answer = compare_models(settings, workspace=session.workspace)
    lines = [answer["gate"]["verdict"], *(f"- {each}" for each in answer["gate"]["reasons"])]
    for warning in answer["warnings"]:
        session.note(f"note: {warning}")
    session.answer(answer, *lines, f"report: {answer['report']}")
    refused = answer["gate"]["verdict"] == "refuse"
    return ExitCode.GATE_REFUSED if refused else ExitCode.DONE


def promote(
    session: Session,
    reference: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="Which version.")],
    by: By = "",
    reason: Reason = "",
) -> ExitCode:
    """Let a name mean one version from now on; scans that run keep the model they have."""
    from medvit.errors import ModelError
    from medvit.registry.production import promote as move

    name, _, version = reference.partition("@")
    if not version:
        msg = f"which version of {name} is to be promoted must be said, got {reference!r}"
        raise ModelError(msg, hint=f"medvit models promote {name}@VERSION; see medvit models list")
    change = move(
        session.workspace.models, name, version, by=by or getpass.getuser(), reason=reason
    )
    return _moved(session, change)


def rollback(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which model.")],
    by: By = "",
    reason: Reason = "",
) -> ExitCode:
    """Let a name mean what it meant before; again goes one further back."""
    from medvit.registry.production import rollback as move

    change = move(session.workspace.models, name, by=by or getpass.getuser(), reason=reason)
    return _moved(session, change)


def history(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All without it.")] = None,
) -> ExitCode:
    """Tell what was in production when, by whom and why."""
    from dataclasses import asdict

    from medvit.registry.production import history as told

    changes = told(session.workspace.models, name)
    lines = [
        f"{each.at}  {each.name}: {each.from_version or 'nothing'} -> {each.to_version}  "
        f"{each.action} by {each.by}{': ' if each.reason else ''}{each.reason}"
        for each in changes
    ]
    payload = {"history": [asdict(each) for each in changes]}
    session.answer(payload, *(lines or ["nothing was promoted yet"]))
    return ExitCode.DONE


def gc(
    session: Session,
    delete: Annotated[bool, typer.Option("--delete", help="Do it; without it, only tell.")] = False,
    older_than: Annotated[
        float, typer.Option(min=0, help="Days that a version must be old to be removed.")
    ] = 7,
) -> ExitCode:
    """Remove versions that no history, run, report, reader or other version refers to."""
    from pipelines.models import sweep_models

    swept = sweep_models(session.workspace, older_than_days=older_than, dry=not delete)
    word = "removed" if delete else "would be removed"
    lines = [f"{each}: {word}" for each in (*swept.removed, *swept.drafts)]
    lines += [f"{name}: stays, {why}" for name, why in swept.kept.items()]
    lines.append(f"{swept.freed_bytes / 1e6:.1f} MB {'freed' if delete else 'to be freed'}")
    payload = {
        "deleted": delete,
        "removed": swept.removed,
        "drafts": swept.drafts,
        "kept": dict(swept.kept),
        "freed_bytes": swept.freed_bytes,
    }
    session.answer(payload, *lines)
    return ExitCode.DONE


def _moved(session: Session, change: Change) -> ExitCode:
    from dataclasses import asdict

    line = f"{change.name} means {change.to_version} now, before {change.from_version or 'nothing'}"
    session.answer(asdict(change), line)
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
