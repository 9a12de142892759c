"""What a training of classifiers leaves to look at in its run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import write_config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from medvit.data.labelled import LabelledImages
    from medvit.learn.classify import ClassifyObjective
    from medvit.models.weights import ModelCard
    from pipelines.classifying.config import ClassifyConfig

SHOWN_BATCHES = 3
ARGS_FILE = "args.yaml"
BEST_WEIGHTS = Path("weights") / "best.safetensors"


def picture_data(
    folder: Path,
    config: ClassifyConfig,
    splits: Mapping[str, LabelledImages],
    *,
    classes: Sequence[str],
) -> None:
    """Write `args.yaml` and `labels.jpg`."""
    from medvit.report.training_pictures import write_labels

    write_config(folder / ARGS_FILE, config)
    counts = {}
    for name, split in splits.items():
        found = split.labels.bincount(minlength=len(classes)).tolist()
        counts[name] = dict(zip(classes, found, strict=True))
    write_labels(folder / "labels.jpg", counts)


def picture_batches(
    folder: Path,
    batches: Iterable[tuple[Tensor, Tensor]],
    objective: ClassifyObjective,
    *,
    classes: Sequence[str],
    seed: int,
) -> None:
    """Write `train_batch0.jpg` and on: what the network sees at the first steps, mixed too."""
    import torch

    from medvit.report.training_pictures import write_mosaic

    with torch.random.fork_rng(devices=[]):
        for step, (images, targets) in enumerate(islice(batches, SHOWN_BATCHES)):
            torch.manual_seed(seed * 1_000_003 + step)  # as the training loop does
            if objective.mixing.method != "none":
                images, targets = objective.mixed(images, targets)  # noqa: PLW2901
            captions = [_caption(target, classes) for target in targets]
            write_mosaic(folder / f"train_batch{step}.jpg", _pixels(images), captions=captions)


def _pixels(images: Tensor) -> list[NDArray[np.uint8]]:
    levels = (images.clamp(0, 1) * 255).round().byte()
    return [each[0].numpy() if len(each) == 1 else each.permute(1, 2, 0).numpy() for each in levels]


def _caption(target: Tensor, classes: Sequence[str]) -> str:
    if target.ndim == 0:
        return classes[int(target)]
    shares = [(float(share), name) for share, name in zip(target, classes, strict=True)]
    top = sorted(shares, reverse=True)[:2]
    return " + ".join(f"{share:.2f} {name}" for share, name in top if share > 0)


def picture_answers(
    folder: Path,
    split: LabelledImages,
    logits: Tensor,
    *,
    classes: Sequence[str],
    name: str,
) -> None:
    """Write `confusion_matrix.png`, `val_batch0_labels.jpg` and `val_batch0_pred.jpg`.

    Args:
        folder: The run folder.
        split: Images that were not trained on.
        logits: Of these images (n, k), calibrated.
        classes: Names in the order of the logits.
        name: Of the split.
    """
    from medvit.report.training_pictures import MOST_CELLS, write_confusion, write_mosaic

    if not split.paths:
        return
    confidence, guesses = logits.softmax(dim=1).max(dim=1)
    guess, truth = guesses.tolist(), split.labels.tolist()
    counts = [[0] * len(classes) for _ in classes]
    for true, answer in zip(truth, guess, strict=True):
        counts[true][answer] += 1
    title = f"split {name}, {len(split.paths)} images, last epoch"
    write_confusion(folder / "confusion_matrix.png", counts, classes=classes, title=title)
    step = max(1, len(split.paths) // MOST_CELLS)
    chosen = range(0, len(split.paths), step)[:MOST_CELLS]
    images = [split.images[index] for index in chosen]
    truths = [classes[truth[index]] for index in chosen]
    write_mosaic(folder / "val_batch0_labels.jpg", images, captions=truths)
    answers = [
        ("" if guess[index] == truth[index] else "!")
        + f"{classes[guess[index]]} {confidence[index]:.2f}"
        for index in chosen
    ]
    write_mosaic(folder / "val_batch0_pred.jpg", images, captions=answers)


def keep_weights(folder: Path, net: nn.Module, card: ModelCard) -> None:
    """Write `weights/last` and `weights/best` as model folders that `load_model` reads."""
    from safetensors.torch import load_file

    from medvit.models.weights import save_model

    last = {key: value.clone() for key, value in net.state_dict().items()}
    if not (folder / "weights" / "last").exists():
        save_model(folder / "weights" / "last", net, card)
    best = folder / BEST_WEIGHTS
    if best.is_file():
        net.load_state_dict(load_file(best))
        save_model(folder / "weights" / "best", net, _of_best(card))
        net.load_state_dict(last)
        best.unlink()


def _of_best(card: ModelCard) -> ModelCard:
    """Return the card without figures: those are of the last epoch."""
    changes: dict[str, Any] = {"metrics": {}, "calibration": {}}
    return card.model_copy(update=changes)
