"""What a trained classifier knows, learnt as it is registered: the base of the `ood` column."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medvit.data.labelled import LabelledImages
    from medvit.learn.classify import FeatureReader
    from medvit.models.card import ModelCard
    from medvit.models.heads.classify import DefectClassifier
    from medvit.registry.lineage import Seen
    from medvit.trust.ood import KnownLooks

logger = logging.getLogger(__name__)


def learn_looks(reader: FeatureReader, splits: Mapping[str, LabelledImages]) -> KnownLooks | None:
    """Return what training images look like to a network, and the limit by those of split val.

    None, with a warning, where val has too few images to set a limit.
    """
    from medvit.trust.ood import LEAST_HELD_OUT, KnownLooks

    train, val = splits["train"], splits["val"]
    if len(val.paths) < LEAST_HELD_OUT or not train.paths:
        logger.warning(
            "split val has %d images; with %d the model would tell images unlike its own",
            len(val.paths),
            LEAST_HELD_OUT,
        )
        return None
    learnt = reader.features(train.images).double().numpy()
    held_out = reader.features(val.images).double().numpy()
    columns = reader.net.backbone.surface_channels
    return KnownLooks.of(learnt, train.labels.numpy(), held_out, columns)


def grown_looks(
    folder: Path, card: ModelCard, net: DefectClassifier, train: LabelledImages
) -> KnownLooks | None:
    """Return what a champion knows, with the classes that were added to it.

    Args:
        folder: Of the champion.
        card: Of the champion.
        net: The champion with a larger head; its features are the same.
        train: Images of all classes.
    """
    from medvit.learn.classify import predict_features
    from medvit.trust.ood import read_looks

    looks = read_looks(folder, card)
    is_new = (train.labels >= len(card.classes)).numpy()
    if looks is None or not is_new.any():
        return looks
    features = predict_features(net, train.images[is_new]).double().numpy()
    return looks.grown(features, train.labels.numpy()[is_new])


def with_looks(
    card: Mapping[str, Any], seen: Seen, looks: KnownLooks | None
) -> tuple[dict[str, Any], Seen]:
    """Return fields of a card and what was seen, with the statistics in both."""
    if looks is None:
        return dict(card), seen
    content = looks.to_bytes()
    return {**card, "ood": looks.card_entry(content)}, replace(seen, looks=content)
