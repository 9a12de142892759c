"""Only the head learns: a linear probe of what the backbone knows."""

from __future__ import annotations

from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Freeze the backbone."""
    del options
    train_only(net, chosen=lambda name: name.startswith("head."))
    return Tuned()
