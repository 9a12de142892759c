"""Train an image classifier from a manifest.

Manifest -> images in memory -> a network, tuned -> temperature on val -> scores on test
-> ModelVersion, and a run folder to look at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.workspace import Workspace
from pipelines.classifying.card import card_text
from pipelines.classifying.config import ClassifyConfig
from pipelines.classifying.fit import fit_classifier
from pipelines.classifying.known_looks import learn_looks, with_looks
from pipelines.classifying.pictures import keep_weights, picture_data
from pipelines.classifying.prepare import Prepared, prepare
from pipelines.classifying.prune import keep_left_out
from pipelines.classifying.score import calibrate, score
from pipelines.classifying.tune import compute_head, compute_spread_head, is_spread
from pipelines.training.config import find_manifest
from pipelines.training.run import close_run, images_sha256, open_run, register

if TYPE_CHECKING:
    from medvit.learn.classify import FeatureReader
    from medvit.learn.fit import FitResult, Progress
    from medvit.registry.lineage import Seen


def run(
    config: ClassifyConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Train, calibrate on val, score the last epoch on test, and register the model.

    Returns:
        `{"run", "model", "metrics"}`.

    Raises:
        ConfigError: If there are fewer than two classes, or too few images.
    """
    from medvit.registry.registry import version_folder

    next(version_folder(workspace.models, config.model.name))
    prepared = prepare(config, workspace)
    start, splits = prepared.start, prepared.splits
    with open_run(workspace, "train", config) as folder:
        picture_data(folder, config, splits, classes=start.classes)
        result, reader = _learn(prepared, config=config, folder=folder, progress=progress)
        temperature = calibrate(start, splits["val"], reader=reader)
        metrics = score(prepared, reader=reader, temperature=temperature, folder=folder)
        metrics |= {"loss": result.loss, "epochs": result.epochs, "cut_short": result.cut_short}
        if start.spread:
            metrics["labels_spread"] = start.spread["spread"]
        counts = {name: len(split.paths) for name, split in splits.items()}
        card = _card(config, prepared, counts=counts)
        card |= {"calibration": {"temperature": temperature}, "metrics": metrics}
        card, seen = with_looks(card, _seen(config), learn_looks(reader, splits))
        saved = register(
            workspace,
            start.net,
            name=config.model.name,
            card=card,
            readme=card_text(card),
            seen=seen,
        )
        keep_weights(folder, start.net, saved)
        if prepared.pruned is not None:
            keep_left_out(prepared.pruned, folder)
        noise = {"noise": prepared.noise_record} if prepared.noise_record else {}
        return close_run(folder, config, card=saved, result=result, counts=counts, more=noise)


def _learn(
    prepared: Prepared, *, config: ClassifyConfig, folder: Path, progress: Progress | None
) -> tuple[FitResult, FeatureReader]:
    """Train what is to be trained, or compute what is to be computed."""
    from medvit.learn.classify import FeatureReader
    from medvit.learn.fit import FitResult

    if prepared.tuned.trains:
        result = fit_classifier(prepared, config=config, folder=folder, progress=progress)
        return result, FeatureReader(prepared.start.net)
    from torch.nn import functional as F  # noqa: N812

    from medvit.learn.validation import held_out_figures
    from medvit.report.training_pictures import write_results

    started = time.monotonic()
    reader = FeatureReader(prepared.start.net)
    start, train, val = prepared.start, prepared.splits["train"], prepared.splits["val"]
    if prepared.unlabelled is not None:
        compute_spread_head(start, train, prepared.unlabelled, reader=reader)
    elif not start.old_classes:
        compute_head(start, config, prepared.splits, reader=reader)
    loss = float(F.cross_entropy(reader.logits(train.images), train.labels))
    row = {"epoch": 0.0, "train/loss": loss}
    if val.paths:
        row |= held_out_figures(reader.logits(val.images), val.labels)
    write_results(folder, [row])
    device = next(start.net.parameters()).device.type
    seconds = time.monotonic() - started
    return FitResult(0, cut_short=False, loss=loss, seconds=seconds, device=device), reader


def _seen(config: ClassifyConfig) -> Seen:
    """Return marks of the images that were trained on."""
    from medvit.data.manifest import read_manifest
    from medvit.registry.lineage import seen_images

    file, root = find_manifest(config.data)
    rows = read_manifest(file).of("train")
    if not is_spread(config):
        rows = tuple(row for row in rows if row.label or row.soft)
    return seen_images(root, ((row.path, row.group) for row in rows))


def _card(config: ClassifyConfig, prepared: Prepared, *, counts: dict[str, int]) -> dict[str, Any]:
    from medvit.data.surface import longest_side

    data, start, train = config.data, prepared.start, prepared.splits["train"]
    shown = train.counts(classes=len(start.classes)).tolist()
    noise = {"noise_found": prepared.noise_record} if prepared.noise_record else {}
    return {
        "task": "defect",
        "architecture": {"builder": "defect_classifier", "arguments": start.arguments},
        "classes": start.classes,
        "preprocessing": {
            "side_px": data.side_px,
            "image_px": longest_side(find_manifest(data)[1], train.paths),
            "channels": data.channels,
            "range": [0, 1],
            **({"sound_class": data.sound_class} if data.sound_class else {}),
        },
        "training": {
            **config.model_dump(mode="json"),
            "data_sha256": images_sha256(train.images, train.paths),
            "images": counts,
            "class_counts": dict(zip(start.classes, shown, strict=True)),
            **noise,
            **({"labels_spread": start.spread} if start.spread else {}),
        },
        "parents": start.parents,
    }
