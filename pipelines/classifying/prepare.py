"""What a training of classifiers reads, builds and checks before hours are spent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.classifying.config import ClassifyConfig
from pipelines.classifying.noisy import NoiseFound, Second, find_noise, second_network
from pipelines.classifying.prune import Pruned, prune
from pipelines.classifying.start import Start, start_anew, start_from_classes
from pipelines.classifying.tune import grow_head, is_spread, prepare_tuning
from pipelines.config import hint
from pipelines.training.config import check_batch, find_manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
        noise: What was found out about the labels, where two networks learn around them.
        second: The other network, where two are trained.
        unlabelled: Images of split train without a label, where labels are spread over them;
            also those whose labels were left out.
        pruned: Which labels were left out, where that was asked for.
    """

    start: Start
    tuned: Tuned
    splits: dict[str, LabelledImages]
    before: list[int]
    noise: NoiseFound | None = None
    second: Second | None = None
    unlabelled: NDArray[np.uint8] | None = None
    pruned: Pruned | None = None

    @property
    def noise_record(self) -> dict[str, Any] | None:
        """What is recorded of wrong labels; None where nobody asked."""
        if self.pruned is not None:
            return self.pruned.record
        return None if self.noise is None else self.noise.record


def prepare(config: ClassifyConfig, workspace: Workspace) -> Prepared:
    """Read all images and build what is to be trained.

    Raises:
        ConfigError: If classes, labels or settings allow no training; the message names them.
    """
    import numpy as np

    from medvit.data.manifest import read_manifest

    file, root = find_manifest(config.data)
    manifest = read_manifest(file)
    start, splits = _start(config, workspace, manifest, root)
    _check_sound(config, start.classes)
    pruned = _pruned(config, manifest, start, splits)
    labelled = len(splits["train"].paths) + (len(pruned.left_out.paths) if pruned else 0)
    unlabelled = _unlabelled(config, manifest, root, labelled=labelled)
    if pruned is not None and unlabelled is not None:
        unlabelled = np.concatenate([unlabelled, pruned.left_out.images])
    scale_features(start, splits["train"], unlabelled)
    before = answers(start, splits["test"]) if start.old_classes else []
    if start.old_classes:
        grow_head(start, config, splits)
    tuned = prepare_tuning(start, config)
    if config.noise.method in ("none", "prune"):
        return Prepared(start, tuned, splits, before, unlabelled=unlabelled, pruned=pruned)
    noise = find_noise(config, manifest, splits["train"], classes=start.classes)
    second = second_network(config, workspace, classes=start.classes)
    return Prepared(start, tuned, splits, before, noise, second)


def _pruned(
    config: ClassifyConfig, manifest: Manifest, start: Start, splits: dict[str, LabelledImages]
) -> Pruned | None:
    """Take labels that are likely wrong out of split train, where that is asked for."""
    if config.noise.method != "prune":
        return None
    pruned = prune(config, manifest, splits["train"], start=start)
    splits["train"] = pruned.kept
    return pruned


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


def _unlabelled(
    config: ClassifyConfig, manifest: Manifest, root: Path, *, labelled: int
) -> NDArray[np.uint8] | None:
    """Return the images that labels are spread over; None where nothing is spread.

    Raises:
        ConfigError: If there are too many labels for all pairs of images to be compared.
    """
    from medvit.data.labelled import load_unlabelled
    from medvit.learn.tuning.spread import MOST_IMAGES

    if not is_spread(config):
        return None
    if labelled > MOST_IMAGES:
        msg = (
            f"{manifest.file}: tuning.prototype=spread compares all pairs of at most "
            f"{MOST_IMAGES} images, but {labelled} are labelled in split train"
        )
        raise ConfigError(msg, hint="with so many labels set tuning.method=full")
    how: dict[str, Any] = {"side_px": config.data.side_px, "channels": config.data.channels}
    found = load_unlabelled(manifest, root=root, most=MOST_IMAGES - labelled, **how)
    total = sum(not row.label and not row.soft for row in manifest.of("train"))
    if len(found) < total:
        logger.warning(
            "labels spread over %d of %d unlabelled images: at most %d are compared, all pairs",
            len(found),
            total,
            MOST_IMAGES,
        )
    return found


def scale_features(
    start: Start, train: LabelledImages, unlabelled: NDArray[np.uint8] | None
) -> None:
    """Bring the features of a backbone with texture to one scale, unless it came with one."""
    import numpy as np

    from medvit.learn.classify import learn_scale
    from medvit.models.textured import TexturedBackbone

    backbone = start.net.backbone
    if start.old_classes or not isinstance(backbone, TexturedBackbone):
        return
    images = train.images
    learn_scale(backbone, images if unlabelled is None else np.concatenate([images, unlabelled]))


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


def _check_sound(config: ClassifyConfig, classes: Sequence[str]) -> None:
    sound = config.data.sound_class
    if sound and sound not in classes:
        msg = f"data.sound_class={sound} is none of the classes {', '.join(classes)}"
        raise ConfigError(msg, hint=f"{hint(sound, classes)}; correct it or leave it out")


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
