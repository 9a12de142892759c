"""Bottlenecks behind the blocks learn, and the head; the backbone stays (Houlsby 1902.00751)."""

from __future__ import annotations

from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier
from medvit.models.layers.adapter import insert_adapters


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Put an adapter behind each block, and freeze the rest of the backbone."""
    insert_adapters(net.backbone.bare, width=options.adapter_width)
    train_only(net, chosen=lambda name: name.startswith("head.") or ".adapter." in name)
    return Tuned(extras={"adapter_width": options.adapter_width})
