"""What a training of classifiers reads, builds and checks before hours are spent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.classify_config import ClassifyConfig
from pipelines.classify_start import Start, start_anew, start_from_classes
from pipelines.classify_tune import grow_head, prepare_tuning
from pipelines.config import hint
from pipelines.train_noisy import NoiseFound, Second, find_noise, second_network
from pipelines.training_config import check_batch, find_manifest

if TYPE_CHECKING:
    from medvit.data.labelled import LabelledImages
    from medvit.data.manifest import Manifest
    from medvit.learn.tuning.tuned import Tuned

SPLITS = ("train", "val", "test")
LEARNS_ALL = ("full", "layer_decay", "gradual")
"""Ways of tuning for which one image of a class is none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is read and built before a run folder is opened.

    Attributes:
        start: The classifier.
        tuned: How it is trained.
        splits: Images by the name of their split.
        before: What the old model says of split test, where classes are added.
        noise: What was found out about the labels, where that was asked for.
        second: The other network, where two are trained.
    """

    start: Start
    tuned: Tuned
    splits: dict[str, LabelledImages]
    before: list[int]
    noise: NoiseFound | None = None
    second: Second | None = None


def prepare(config: ClassifyConfig, workspace: Workspace) -> Prepared:
    """Read all images and build what is to be trained.

    Raises:
        ConfigError: If classes, labels or settings allow no training; the message names them.
    """
    from medvit.data.manifest import read_manifest

    file, root = find_manifest(config.data)
    manifest = read_manifest(file)
    start, splits = _start(config, workspace, manifest, root)
    before = answers(start, splits["test"]) if start.old_classes else []
    if start.old_classes:
        grow_head(start, config, splits)
    tuned = prepare_tuning(start, config)
    if config.noise.method == "none":
        return Prepared(start, tuned, splits, before)
    noise = find_noise(config, manifest, splits["train"], classes=start.classes)
    second = second_network(config, workspace, classes=start.classes)
    return Prepared(start, tuned, splits, before, noise, second)


def _start(
    config: ClassifyConfig, workspace: Workspace, manifest: Manifest, root: Path
) -> tuple[Start, dict[str, LabelledImages]]:
    from medvit.data.labelled import load_labelled, training_classes

    _check_listed(config.data.classes, manifest)
    labels = tuple(sorted({row.label for row in manifest.of("train") if row.label}))
    kept = (
        start_from_classes(config, workspace, labels=labels) if config.tuning.keep_classes else None
    )
    classes = kept.classes if kept else config.data.classes or training_classes(manifest)
    _check_listed(classes, manifest)
    how: dict[str, Any] = {"side_px": config.data.side_px, "channels": config.data.channels}
    splits = {
        name: load_labelled(manifest, name, root=root, classes=classes, **how) for name in SPLITS
    }
    if config.tuning.method != "prototype":
        count, batch = len(splits["train"].paths), config.train.batch_size
        check_batch(count, batch_size=batch, file=manifest.file)
    if kept is None:
        _check_counts(splits["train"], classes, config=config, file=manifest.file)
    return kept or start_anew(config, workspace, classes=classes), splits


def _check_listed(classes: Sequence[str], manifest: Manifest) -> None:
    """Refuse a label that is not in the list of classes."""
    soft = [name for name in manifest.soft_classes if classes and name not in classes]
    for row in manifest.rows:
        strange = row.label if row.label and classes and row.label not in classes else ""
        strange = strange or (soft[0] if soft and row.soft else "")
        if strange:
            msg = (
                f"{manifest.file}: {row.path} is labelled {strange!r}, which is none of the "
                f"{len(classes)} classes {', '.join(classes)}"
            )
            raise ConfigError(msg, hint=f"{hint(strange, classes)}; correct it or data.classes")


def _check_counts(
    train: LabelledImages, classes: Sequence[str], *, config: ClassifyConfig, file: Path
) -> None:
    """Refuse classes without an image, and those with one where one teaches nothing.

    Raises:
        ConfigError: The message names the classes.
    """
    counts = train.counts(classes=len(classes)).tolist()
    none = [name for name, count in zip(classes, counts, strict=True) if count <= 0]
    if none:
        msg = f"{file}: classes without a training image: {', '.join(none)}"
        raise ConfigError(msg, hint="label images of these classes in split train, or drop them")
    shown = train.labels.bincount(minlength=len(classes)).tolist()
    one = [name for name, count in zip(classes, shown, strict=True) if count == 1]
    if one and (config.tuning.method in LEARNS_ALL or config.noise.method != "none"):
        chosen = f"tuning.method={config.tuning.method}, noise.method={config.noise.method}"
        msg = f"{file}: one training image is too little for {', '.join(one)} ({chosen})"
        raise ConfigError(
            msg, hint="label more, or set tuning.method=prototype and noise.method=none"
        )
    if one:
        logger.warning("one training image only, its figures are luck: %s", ", ".join(one))


def answers(start: Start, split: LabelledImages) -> list[int]:
    """Return the class that a classifier gives each image."""
    from medvit.learn.classify import predict_logits

    if not split.paths:
        return []
    return [int(index) for index in predict_logits(start.net, split.images).argmax(dim=1)]
