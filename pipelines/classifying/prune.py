"""Leave out training labels that are more likely wrong than right, then train as ever.

Confident learning (arXiv 1911.00068): labels are judged before training, by images of other
groups. Texture judges and, where there are weights to start from, their features beside it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medvit.errors import ConfigError
from pipelines.classifying.config import ClassifyConfig
from pipelines.classifying.noisy import check_rate, groups_of, rate_record, weigh
from pipelines.classifying.start import Start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medvit.data.labelled import LabelledImages
    from medvit.data.manifest import Manifest
    from medvit.learn.noise.evidence import Evidence
    from medvit.report.suspects import SuspectRow

LIKELY = 0.5
LEAST_KEPT = 2
"""Labels that a class keeps whatever is said against them, the least suspicious ones."""

LEFT_OUT_FILE = "left_out.csv"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What training is left with.

    Attributes:
        kept: Images whose labels are believed.
        left_out: The others.
        suspects: Why, a row each, most suspicious first.
        record: Noise rate, and how many labels of each class were left out.
    """

    kept: LabelledImages
    left_out: LabelledImages
    suspects: tuple[SuspectRow, ...]
    record: dict[str, Any]


def prune(
    config: ClassifyConfig, manifest: Manifest, train: LabelledImages, *, start: Start
) -> Pruned:
    """Split labelled images into those whose labels are believed and the rest.

    Raises:
        ConfigError: If labels are soft, more than half of them look wrong, all of a class do,
            or there are too few to tell.
    """
    if train.targets.ndim == 2:
        msg = (
            f"{manifest.file}: noise.method=prune asks which labels are wrong, but soft labels "
            "say themselves how sure they are"
        )
        raise ConfigError(msg, hint="set noise.method=none, which learns from soft labels as such")
    labels = train.labels.numpy()
    try:
        evidence = _evidence(config, train, start, groups=groups_of(manifest, train.paths))
    except ValueError as error:
        msg = f"{manifest.file}: wrong labels cannot be told from right ones: {error}"
        raise ConfigError(msg, hint="set noise.method=none") from error
    rate = config.noise.rate
    if isinstance(rate, str):
        check_rate(evidence, labels, classes=start.classes, file=manifest.file)
    left_out = doubted(evidence, labels, rate=None if isinstance(rate, str) else rate)
    kept = np.setdiff1d(np.arange(len(labels)), left_out)
    counts = np.bincount(labels[left_out], minlength=len(start.classes)).tolist()
    record = {
        "method": "prune",
        **rate_record(evidence),
        "left_out": len(left_out),
        "left_out_by_class": dict(zip(start.classes, counts, strict=True)),
    }
    if start.parents:
        record["source"] = f"texture and {start.parents[0]}, 5 folds by group"
    logger.info("noise: %s", record)
    suspects = _rows(evidence, train, left_out, start.classes)
    return Pruned(train.at(kept), train.at(left_out), suspects, record)


def doubted(
    evidence: Evidence, labels: NDArray[np.intp], *, rate: float | None = None
) -> NDArray[np.intp]:
    """Return the places of labels to leave out, most suspicious first.

    Args:
        rate: So large a share is left out; without it, labels more likely wrong than right.
    """
    order = evidence.order
    if rate is None:
        chosen = order[evidence.chances[order] > LIKELY]
    else:
        chosen = order[: round(rate * len(labels))]
    chosen = chosen[evidence.is_judged[chosen]]
    found = []
    left = np.bincount(labels)
    for place in chosen.tolist():
        if left[labels[place]] > LEAST_KEPT:
            left[labels[place]] -= 1
            found.append(place)
    return np.array(found, dtype=np.intp)


def keep_left_out(pruned: Pruned, folder: Path) -> None:
    """Write which labels were left out, and what they likely are."""
    from medvit.atomic import write_text
    from medvit.report.suspects import suspects_csv

    write_text(folder / LEFT_OUT_FILE, suspects_csv(pruned.suspects))


def _evidence(
    config: ClassifyConfig, train: LabelledImages, start: Start, *, groups: Sequence[str]
) -> Evidence:
    from medvit.learn.classify import predict_features

    others = []
    if config.model.weights != "none":
        others.append(predict_features(start.net, train.images).double().numpy())
    return weigh(train.images, train.labels.numpy(), groups=groups, others=others)


def _rows(
    evidence: Evidence, train: LabelledImages, places: NDArray[np.intp], classes: Sequence[str]
) -> tuple[SuspectRow, ...]:
    from medvit.report.suspects import SuspectRow

    labels = train.labels.numpy()
    suggested = evidence.suggested(labels)
    return tuple(
        SuspectRow(
            train.paths[place],
            classes[labels[place]],
            classes[suggested[place]],
            float(evidence.chances[place]),
            (),
        )
        for place in places.tolist()
    )
