"""Learned tokens in front of those of an image, and the head (Jia 2022, arXiv 2203.12119)."""

from __future__ import annotations

from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier
from medvit.models.layers.prompts import insert_prompts


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Put prompts into the Transformer, and freeze all else but the head."""
    insert_prompts(net.backbone.bare, count=options.prompts, deep=options.deep_prompts)
    train_only(net, chosen=lambda name: name.startswith("head.") or ".prompts." in name)
    return Tuned(extras={"prompts": options.prompts, "deep": options.deep_prompts})
