"""The ways of tuning, by the names that configs use."""

from __future__ import annotations

from collections.abc import Callable

from medvit.learn.tuning import (
    adapter,
    full,
    gradual,
    head,
    head_norm,
    layer_decay,
    prompt,
    prototype,
)
from medvit.learn.tuning.tuned import Method, Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier

METHODS: dict[Method, Callable[[DefectClassifier, TuningOptions], Tuned]] = {
    "full": full.tune,
    "layer_decay": layer_decay.tune,
    "gradual": gradual.tune,
    "head": head.tune,
    "head_norm": head_norm.tune,
    "adapter": adapter.tune,
    "prompt": prompt.tune,
    "prototype": prototype.tune,
}


def prepare(net: DefectClassifier, method: Method, options: TuningOptions | None = None) -> Tuned:
    """Freeze, open or extend a classifier, in place, as a method asks.

    Raises:
        ValueError: If the method does not fit the network.
    """
    return METHODS[method](net, options or TuningOptions())
