"""The head and the norms of the backbone learn: enough for long tails (Shi 2023, 2309.10019)."""

from __future__ import annotations

from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.blocks import is_norm
from medvit.models.heads.classify import DefectClassifier


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Freeze the backbone but for the scales and shifts of its norms."""
    del options
    norms = {
        f"{name}.{own}"
        for name, module in net.named_modules()
        if is_norm(module)
        for own, _ in module.named_parameters()
    }
    train_only(net, chosen=lambda name: name.startswith("head.") or name in norms)
    return Tuned()
