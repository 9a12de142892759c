"""What tuning makes of a classifier: trained parameters, computed prototypes, added classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from pipelines.classifying.config import ClassifyConfig
from pipelines.classifying.start import Start

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from medvit.data.labelled import LabelledImages
    from medvit.learn.classify import FeatureReader
    from medvit.learn.tuning.tuned import Tuned
    from medvit.models.heads.kernel import KernelHead

logger = logging.getLogger(__name__)


def prepare_tuning(start: Start, config: ClassifyConfig) -> Tuned:
    """Freeze, open or extend the classifier as the config asks.

    Raises:
        ConfigError: If the method does not fit the backbone.
    """
    import torch

    from medvit.learn.tuning.methods import prepare
    from medvit.learn.tuning.tuned import TuningOptions

    own = config.tuning.model_dump(exclude={"method", "keep_classes", "most_moved"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        try:
            tuned = prepare(start.net, config.tuning.method, TuningOptions(**own))
        except ValueError as error:
            msg = f"tuning.method={config.tuning.method}: {error}"
            raise ConfigError(msg, hint="choose another tuning.method or backbone") from error
    if tuned.extras:
        start.arguments["extras"] = {**start.arguments.get("extras", {}), **tuned.extras}
    return tuned


def is_spread(config: ClassifyConfig) -> bool:
    """Whether labels are spread over unlabelled images."""
    return config.tuning.method == "prototype" and config.tuning.prototype == "spread"


def compute_spread_head(
    start: Start, train: LabelledImages, unlabelled: NDArray[np.uint8], *, reader: FeatureReader
) -> None:
    """Give the classifier a linear head of given and spread labels, and count them."""
    from medvit.learn.tuning.spread import spread_head

    features, others = reader.features(train.images), reader.features(unlabelled)
    head, found = spread_head(features, train.labels, others, names=start.classes)
    start.net.head = head
    start.arguments["head"] = {"kind": "linear"}
    counts = found.bincount(minlength=len(start.classes)).tolist()
    by_class = dict(zip(start.classes, counts, strict=True))
    logger.info(
        "%d labels were spread over %d unlabelled images: %s",
        len(features),
        len(others),
        ", ".join(f"{name} {count}" for name, count in by_class.items()),
    )
    start.spread = {"given": len(features), "spread": len(others), "by_class": by_class}


def compute_head(
    start: Start,
    config: ClassifyConfig,
    splits: dict[str, LabelledImages],
    *,
    reader: FeatureReader,
) -> None:
    """Give the classifier a head of prototypes.

    Raises:
        ConfigError: If a class has no training image.
    """
    from medvit.learn.tuning.cache import cache_head, choose_cache
    from medvit.learn.tuning.prototype import cosine_head, tied_covariance_head

    train, val = splits["train"], splits["val"]
    features = reader.features(train.images)
    given: dict[str, Any] = {"names": start.classes}
    kind = config.tuning.prototype
    if kind == "kernel":
        start.net.head = _kernel_head(features, train.labels, names=start.classes)
        plan: dict[str, Any] = {"kind": "kernel", "keys": len(features)}
    elif kind == "tied_covariance":
        start.net.head = tied_covariance_head(features, train.labels, **given)
        plan = {"kind": "linear"}
    else:
        start.net.head = cosine_head(features, train.labels, **given)
        plan = {"kind": "cosine"}
    if kind == "cache":
        head = cache_head(start.net.head, features, train.labels, **given)
        choose_cache(head, reader.features(val.images), val.labels)
        start.net.head = head
        plan = {"kind": "cache", "keys": len(features), "base": plan}
    start.arguments["head"] = plan


def _kernel_head(features: Tensor, labels: Tensor, *, names: Sequence[str]) -> KernelHead:
    from medvit.learn.tuning.kernel import kernel_head

    try:
        return kernel_head(features, labels, names=names)
    except ValueError as error:
        msg = f"tuning.prototype=kernel: {error}"
        raise ConfigError(msg, hint="choose another tuning.prototype") from error


def grow_head(start: Start, config: ClassifyConfig, splits: dict[str, LabelledImages]) -> float:
    """Append a row for each new class, and return the loss on the training images.

    Held-out images of old classes, those of split val or else of train, set each bias.

    Raises:
        ConfigError: If there are too few of them.
    """
    import torch
    from torch.nn import functional as F  # noqa: N812

    from medvit.learn.classify import predict_features
    from medvit.learn.tuning.new_class import add_class

    old, train, val = start.old_classes, splits["train"], splits["val"]
    features = predict_features(start.net, train.images)
    held_out = predict_features(start.net, val.images)[val.labels < old]
    if not len(held_out):
        held_out = features[train.labels < old]
    for number in range(old, len(start.classes)):
        support = features[train.labels == number]
        try:
            head = add_class(start.net.head, support, held_out, most_moved=config.tuning.most_moved)
        except ValueError as error:
            msg = f"new class {start.classes[number]}: {error}"
            hint = "add rows of old classes to the manifest, in split val or train"
            raise ConfigError(msg, hint=hint) from error
        start.net.head = head
        plan = start.arguments.get("head") or {"kind": "linear"}
        start.arguments["head"] = {"kind": "grown", "added": 1, "base": plan}
        held_out = torch.cat([held_out, support])
    start.arguments["classes"] = len(start.classes)
    return float(F.cross_entropy(start.net.head(features), train.labels).detach())


def forgetting_rows(
    before: list[int], after: list[int], truth: list[int], *, names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return for each old class with test images how often it was and is recognised.

    Args:
        before: Class that the old model gave each image.
        after: Class that the new one gives.
        truth: Class of each image.
        names: Of the old classes.
    """
    from medvit.metrics.classification import wilson_interval

    rows = {}
    for index, name in enumerate(names):
        of = [number for number, label in enumerate(truth) if label == index]
        if of:
            was, now = (sum(guess[i] == index for i in of) for guess in (before, after))
            low, high = wilson_interval(now, len(of))
            shares = {"before": was / len(of), "after": now / len(of)}
            rows[name] = {"n": len(of), **shares, "after_low": low, "after_high": high}
    return rows
