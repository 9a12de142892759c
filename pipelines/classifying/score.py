"""The figures of a trained classifier: a temperature on val, scores on test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.classifying.pictures import picture_answers
from pipelines.classifying.prepare import Prepared
from pipelines.classifying.start import Start
from pipelines.classifying.tune import forgetting_rows

if TYPE_CHECKING:
    from torch import Tensor, dtype

    from medvit.data.labelled import LabelledImages
    from medvit.learn.classify import FeatureReader


def calibrate(start: Start, val: LabelledImages, *, reader: FeatureReader) -> float:
    """Return the temperature; that of the parent, or 1, where val does not show all classes."""
    from medvit.learn.classify import fit_temperature

    shown = len(val.labels.unique())  # type: ignore[no-untyped-call]
    if not val.paths or (start.old_classes and shown < len(start.classes)):
        return start.temperature
    return fit_temperature(reader.logits(val.images), val.targets)


def _kind(split: LabelledImages, logits: Tensor) -> dtype:
    """Return what targets are to be: class indices, or shares as precise as logits."""
    return logits.dtype if split.targets.ndim == 2 else split.targets.dtype


def _curves(logits: Tensor, test: LabelledImages, *, classes: Sequence[str]) -> dict[str, Any]:
    """Return precision by recall of each class against the rest, by calibrated logits (n, k)."""
    from medvit.metrics.precision_recall import curves_for_card, one_against_rest

    # In 32 bits the probabilities of sure answers are all 1, and no threshold parts them.
    shown = logits.double().softmax(dim=1).numpy()
    curves = one_against_rest(shown, test.labels.numpy())
    return curves_for_card("test", dict(zip(classes, curves, strict=True)))


def score(
    prepared: Prepared, *, reader: FeatureReader, temperature: float, folder: Path
) -> dict[str, Any]:
    """Return figures on images that neither training nor calibration saw."""
    from torch.nn import functional as F  # noqa: N812

    from medvit.metrics.calibration import expected_calibration_error
    from medvit.metrics.class_groups import by_frequency
    from medvit.metrics.classification import score_classification
    from medvit.models.card import CURVES

    start, test = prepared.start, prepared.splits["test"]
    held_out = "test" if test.paths else "val"
    split = prepared.splits[held_out]
    if not split.paths:
        return {"n": 0}
    logits: Tensor = reader.logits(split.images) / temperature
    picture_answers(folder, split, logits, classes=start.classes, name=held_out)
    if not test.paths:
        return {"n": 0}
    confidence, guess = logits.softmax(dim=1).max(dim=1)
    truth = [start.classes[index] for index in test.labels.tolist()]
    predicted = [start.classes[index] for index in guess.tolist()]
    correct = (guess == test.labels).numpy()
    scores = score_classification(truth, predicted, classes=start.classes)
    counts = prepared.splits["train"].counts(classes=len(start.classes)).tolist()
    metrics = {
        **scores,
        "by_frequency": by_frequency(
            scores["per_class"], dict(zip(start.classes, counts, strict=True))
        ),
        "nll": float(F.cross_entropy(logits, test.targets.to(_kind(test, logits)))),
        "ece": expected_calibration_error(confidence.numpy(), correct, equal_mass=True),
        CURVES: _curves(logits, test, classes=start.classes),
    }
    if start.old_classes:
        names = start.classes[: start.old_classes]
        pairs = (prepared.before, guess.tolist(), test.labels.tolist())
        metrics["forgetting"] = forgetting_rows(*pairs, names=names)
    return metrics
