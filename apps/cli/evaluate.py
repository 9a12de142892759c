"""`medvit evaluate`: how good predictions are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session

PREDICTIONS = (
    "CSV: seriesuid,coordX,coordY,coordZ,probability; `medvit scan --write luna16` makes one."
)

Rounds = Annotated[
    int, typer.Option(min=40, help="Draws with replacement behind each 95 % interval.")
]
MANIFEST = "CSV: path,label,split,group."
AccuracyFloor = Annotated[
    float | None, typer.Option(min=0, max=1, help="Exit with 6 when the accuracy is below.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the draws.")]


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
    command(
        group,
        "detection",
        example="medvit evaluate detection --predictions coco.json --annotations labels.json",
    )(detection)
    command(
        group,
        "classification",
        example="medvit evaluate classification --predictions labels.csv --manifest manifest.csv",
    )(classification)
    command(
        group,
        "model",
        example="medvit evaluate model steel-defects --manifest manifest.csv --split test",
    )(model)
    cli.add_typer(group, name="evaluate")


def froc(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    predictions: Annotated[Path, typer.Option(help=PREDICTIONS)],
    annotations: Annotated[
        Path, typer.Option(help="CSV: seriesuid,coordX,coordY,coordZ,diameter_mm.")
    ],
    excluded: Annotated[
        Path | None, typer.Option(help="CSV of findings that count neither way.")
    ] = None,
    series: Annotated[
        Path | None, typer.Option(help="CSV of the scans that were searched, one UID a line.")
    ] = None,
    rounds: Rounds = 1000,
    seed: Seed = 0,
    floor: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with 6 when the CPM is below.")
    ] = None,
) -> ExitCode:
    """Score nodule predictions by the rules of LUNA16."""
    from pipelines.evaluating.froc import FrocSettings, run_froc

    settings = FrocSettings(
        predictions=predictions,
        annotations=annotations,
        excluded=excluded,
        series=series,
        rounds=rounds,
        seed=seed,
        floor=floor,
    )
    result = run_froc(settings, workspace=session.workspace)
    columns = ("fp_per_scan", "sensitivity", "sensitivity_interval")
    lines = [
        f"{rate:>6g} false positives a scan: sensitivity {found:.4f} ({_span(edges)})"
        for rate, found, edges in zip(*(result[name] for name in columns), strict=True)
    ]
    lines += [
        f"{size['name']:>15}: CPM {size['cpm']:.4f} ({_span(size['cpm_interval'])}), "
        f"{size['true_positives']} of {size['n_annotations']} found"
        for size in result["per_size"]
    ]
    counts = f"{result['n_annotations']} nodules in {result['n_scans']} scans"
    lines.append(f"CPM {result['cpm']:.4f} ({_span(result['cpm_interval'])}), {counts}")
    return _answer(session, result, lines)


def detection(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    predictions: Annotated[
        Path,
        typer.Option(help="COCO JSON: a list of results, or a file whose annotations have scores."),
    ],
    annotations: Annotated[Path, typer.Option(help="COCO JSON, or a folder with VOC XML files.")],
    rules: Annotated[
        Literal["coco", "voc2007", "voc2012"],
        typer.Option(help="Whose definition of average precision."),
    ] = "coco",
    manifest: Annotated[
        Path | None,
        typer.Option(help="Manifest whose groups are drawn together; without it, images."),
    ] = None,
    rounds: Rounds = 1000,
    seed: Seed = 0,
    floor: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with 6 when mAP50 is below.")
    ] = None,
) -> ExitCode:
    """Score predicted boxes by the rules of COCO or VOC."""
    from pipelines.evaluating.detection import DetectionSettings, run_detection

    settings = DetectionSettings(
        predictions=predictions,
        annotations=annotations,
        rules=rules,
        manifest=manifest,
        rounds=rounds,
        seed=seed,
        floor=floor,
    )
    result = run_detection(settings, workspace=session.workspace)
    width = max(len(name) for name in result["per_class"])
    lines = [
        f"{name:>{width}}: AP50 {each['ap50']:.4f}, AP50:95 {each['ap50_95']:.4f}, "
        f"{each['true_boxes']} true boxes"
        for name, each in result["per_class"].items()
        if each["true_boxes"]
    ]
    for name, figure in (("mAP50", "map50"), ("mAP50:95", "map50_95")):
        lines.append(f"{name} {result[figure]:.4f} ({_span(result[figure + '_interval'])})")
    return _answer(session, result, lines)


def classification(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    predictions: Annotated[Path, typer.Option(help="CSV: path,label,probability.")],
    manifest: Annotated[Path, typer.Option(help=MANIFEST)],
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Score this split; without it, all that was predicted."),
    ] = None,
    rounds: Rounds = 1000,
    seed: Seed = 0,
    floor: AccuracyFloor = None,
) -> ExitCode:
    """Score predicted labels of images."""
    from pipelines.evaluating.classification import ClassificationSettings, run_classification

    settings = ClassificationSettings(
        predictions=predictions,
        manifest=manifest,
        split=split,
        rounds=rounds,
        seed=seed,
        floor=floor,
    )
    result = run_classification(settings, workspace=session.workspace)
    return _answer(session, result, _label_lines(result))


def model(  # noqa: PLR0913, PLR0917 - each is an option of the command
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Which model.")],
    manifest: Annotated[Path, typer.Option(help=MANIFEST)],
    split: Annotated[
        Literal["train", "val", "test"], typer.Option(help="Images that are judged.")
    ] = "test",
    root: Annotated[
        Path | None, typer.Option(help="What paths are relative to; else the manifest's folder.")
    ] = None,
    rounds: Rounds = 1000,
    seed: Seed = 0,
    floor: AccuracyFloor = None,
) -> ExitCode:
    """Score a registered model on the labelled images of a split."""
    from pipelines.evaluating.model import ModelSettings, run_model

    settings = ModelSettings(
        model=name,
        manifest=manifest,
        split=split,
        root=root,
        rounds=rounds,
        seed=seed,
        floor=floor,
    )
    with session.progress("judging") as advance:
        result = run_model(
            settings,
            workspace=session.workspace,
            progress=lambda done, total: advance(done, total, "images"),
        )
    return _answer(session, result, [f"model {result['model']}", *_label_lines(result)])


def _label_lines(result: dict[str, Any]) -> list[str]:
    width = max(len(name) for name in result["per_class"])
    lines = [
        f"{name:>{width}}: recall {each['recall']:.4f}, precision {each['precision']:.4f}, "
        f"{each['n']} images"
        for name, each in result["per_class"].items()
    ]
    for figure in ("accuracy", "balanced_accuracy", "macro_f1"):
        words = figure.replace("_", " ").replace("f1", "F1")
        lines.append(f"{words} {result[figure]:.4f} ({_span(result[figure + '_interval'])})")
    return [*lines, f"{result['n']} images in {result['n_groups']} groups"]


def _answer(session: Session, result: dict[str, Any], lines: list[str]) -> ExitCode:
    """Tell the figures, where they are kept, and whether they reach the floor."""
    session.answer(result, *lines, f"report: {result['report']}")
    floor = result.get("floor")
    if floor is None or floor["passed"]:
        return ExitCode.DONE
    session.note(f"{floor['metric']} {floor['value']:.4f} is below the floor {floor['floor']:g}")
    return ExitCode.GATE_REFUSED


def _span(edges: tuple[float, float]) -> str:
    return f"{edges[0]:.4f} to {edges[1]:.4f}"
