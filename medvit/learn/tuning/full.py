"""All parameters learn alike."""

from __future__ import annotations

from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Let everything learn."""
    del options
    train_only(net, chosen=lambda name: True)
    return Tuned()
