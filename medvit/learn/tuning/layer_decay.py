"""Layers near the pixels learn slower than those near the head.

Clark 2020, arXiv 2003.10555; for images Bao 2021, arXiv 2106.08254.
"""

from __future__ import annotations

from medvit.learn.tuning.depth import classifier_depths, deepest
from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Scale the learning rate of depth i by `decay^(L + 1 - i)`; L blocks, the head at L + 1."""
    train_only(net, chosen=lambda name: True)
    last = deepest(classifier_depths(net))
    return Tuned({depth: options.layer_decay ** (last - depth) for depth in range(last + 1)})
