"""`medvit labels`: labels of other tools in, and out again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

SHOWN = 10
Images = Annotated[
    Path | None, typer.Option(help="Folder of the images, if not beside the labels.")
]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Labels of other tools in, and out again.",
        epilog="Example: medvit labels import annotations/ --format voc",
    )
    command(group, "import", example="medvit labels import annotations/ --format voc")(import_)
    command(group, "export", example="medvit labels export out.json --format coco")(export)
    command(group, "suspects", example="medvit labels suspects --manifest labels.csv")(suspects)
    cli.add_typer(group, name="labels")


def import_(
    session: Session,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A file or folder of labels.")],
    format_: Annotated[
        Literal["auto", "manifest", "folders", "coco", "voc", "yolo", "masks", "graded", "luna16"],
        typer.Option("--format", help="What the labels are written in."),
    ] = "auto",
    images: Images = None,
    out: Annotated[
        Path | None, typer.Option(help="Manifest to write; default: NAME-labels.csv, here.")
    ] = None,
    reader: Annotated[
        str, typer.Option(help="Whose decisions they become in the store.")
    ] = "import",
) -> ExitCode:
    """Read labels made elsewhere: they become a reader's decisions, and a manifest is written.

    Boxes are written as COCO JSON beside it. `medvit retrain` learns from them as from
    decisions made in the app.
    """
    from pipelines.labels_import import ImportSettings, run

    settings = ImportSettings(source=source, format=format_, images=images, out=out, reader=reader)
    with session.progress("labels") as advance:
        result = run(settings, session.workspace, progress=advance)
    for problem in result.problems[:SHOWN]:
        session.note(f"{problem.file}: {problem.message}")
    if len(result.problems) > SHOWN:
        session.note(f"... and {len(result.problems) - SHOWN} more, see {result.run}/run.json")
    found = f"{result.images} images, {result.labelled} labelled, {result.boxes} boxes"
    boxes = [] if result.boxes_file is None else [f"boxes: {result.boxes_file}"]
    entered = f"{result.entered.decisions} new decisions of {reader} in the store"
    session.answer(result.as_json(), found, f"manifest: {result.manifest}", *boxes, entered)
    return ExitCode.DONE


def export(
    session: Session,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File or folder to write.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Labels in any format; default: what readers agree on."),
    ] = None,
    format_: Annotated[
        Literal["manifest", "coco", "voc", "yolo", "luna16", "sr"],
        typer.Option("--format", help="What to write; voc, yolo and sr write a folder."),
    ] = "coco",
    images: Images = None,
) -> ExitCode:
    """Write labels in the format of another tool.

    For scans: `medvit labels export nodules.csv --format luna16`, or
    `medvit labels export reports/ --format sr` for DICOM SR, one file for each CT series in
    which readers agree on a nodule. Readers and patients are not named.
    """
    from pipelines.labels_import import ExportSettings
    from pipelines.labels_import import export as write

    settings = ExportSettings(source=source, out=out, format=format_, images=images)
    answer = write(settings, session.workspace)
    left_out = answer.get("left_out", [])
    for each in left_out[:SHOWN]:
        session.note(f"left out: {each['case_id']}: {each['message']}")
    if len(left_out) > SHOWN:
        session.note(f"... and {len(left_out) - SHOWN} more, see left_out of --json")
    things = ("series", "nodules") if format_ == "sr" else ("images", "boxes")
    told = f"{answer['images']} {things[0]}, {answer['boxes']} {things[1]} in {out}"
    session.answer(answer, told)
    return ExitCode.SOME_FAILED if left_out else ExitCode.DONE


def suspects(
    session: Session,
    manifest: Annotated[Path, typer.Option(help="Manifest whose labels are doubted.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the images, if not beside the manifest.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A registered model to see with, auto or none: texture alone.")
    ] = "auto",
    split: Annotated[Literal["", "train", "val", "test"], typer.Option(help="One side only.")] = "",
) -> ExitCode:
    """Estimate how many labels are wrong, and list the likely ones, the worst first."""
    from pipelines.labels_suspects import SuspectSettings, run

    settings = SuspectSettings(manifest=manifest, root=root, model=model, split=split)
    with session.progress("suspects") as advance:
        result = run(settings, session.workspace, progress=advance)
    for path, message in result.problems[:SHOWN]:
        session.note(f"{path}: {message}")
    low, high = result.summary.interval
    told = f"wrong labels: {result.summary.noise_rate:.1%} ({low:.1%} to {high:.1%})"
    lines = [
        f"{each.path}: {each.label} -> {each.suggested}  {each.confidence:.2f}"
        for each in result.suspects[:SHOWN]
    ]
    count = f"suspects: {len(result.suspects)} of {result.summary.images} labels"
    if result.queued:
        lines.append(f"in the queue Likely label errors of `medvit app`: {result.queued}")
    session.answer(result.as_json(), told, count, *lines, f"report: {result.run}/report.html")
    return ExitCode.SOME_FAILED if result.problems else ExitCode.DONE
