"""The classifier that a training starts from: drawn, from a model, or from a zoo."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.classifying.config import ClassifyConfig
from pipelines.training.image_model import FOREIGN
from pipelines.training.weights import find_weights, hub_of, load_weights

if TYPE_CHECKING:
    from medvit.models.heads.classify import DefectClassifier

_log = logging.getLogger(__name__)

PLAIN_HEAD: dict[str, Any] = {"kind": "linear"}
COSINE_HEAD: dict[str, Any] = {"kind": "cosine", "scale": 1.0}
"""Bare cosines, which a margin is measured in."""


@dataclass(slots=True)
class Start:
    """A classifier and how a model card builds it again.

    Attributes:
        net: The classifier.
        classes: Names in the order of its outputs.
        arguments: Of `defect_classifier`.
        parents: The model it came from, if any.
        temperature: Of that model's calibration.
        old_classes: How many classes were kept from it.
        spread: How many labels were given and spread, where they were.
    """

    net: DefectClassifier
    classes: tuple[str, ...]
    arguments: dict[str, Any]
    parents: tuple[str, ...] = ()
    temperature: float = 1.0
    old_classes: int = 0
    spread: dict[str, Any] = field(default_factory=dict)


def start_anew(config: ClassifyConfig, workspace: Workspace, *, classes: tuple[str, ...]) -> Start:
    """Return a classifier of the manifest's classes on the config's backbone.

    Raises:
        ConfigError: If the weights do not fit the backbone.
        ModelError: If a network or its weights are not found.
    """
    import torch

    from medvit.models.builders import defect_classifier
    from medvit.models.vit import draw_weights

    name, seed = config.model.backbone, config.train.seed
    arguments: dict[str, Any] = {
        "backbone": name,
        "classes": len(classes),
        "in_channels": 3 if config.data.channels == "colour" else 1,
        "head": COSINE_HEAD if config.loss.name == "ldam_drw" else PLAIN_HEAD,
        "hub": hub_of(name),
    }
    if config.model.texture:
        arguments["extras"] = {"texture": config.model.texture}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = defect_classifier(**arguments)
    own = net if not name.startswith(FOREIGN) else net.head
    draw_weights(own, generator=torch.Generator().manual_seed(seed))
    card = load_weights(net.backbone, config.model, workspace)
    if card is None:
        return Start(net, classes, arguments)
    if is_poor_start(card.training, config.tuning.method):
        _log.warning(
            "%s was pretrained as a masked autoencoder: its features are made to be fine-tuned, "
            "and prototypes do poorly on them; set tuning.method to full or layer_decay",
            card.reference,
        )
    return Start(net, classes, arguments, (card.reference,))


def is_poor_start(training: Mapping[str, Any], method: str) -> bool:
    """Whether a head is computed from features that are no good as they are (He 2021).

    Examples:
        >>> is_poor_start({"pretrain": {"method": "mae"}}, "prototype")
        True
    """
    pretrained = training.get("pretrain")
    is_mae = isinstance(pretrained, Mapping) and pretrained.get("method") == "mae"
    return is_mae and method == "prototype"


def start_from_classes(
    config: ClassifyConfig, workspace: Workspace, *, labels: tuple[str, ...]
) -> Start:
    """Return a registered classifier as it is, its classes first, then those still unknown.

    Args:
        config: Its `model.weights` name the classifier.
        workspace: Where it is registered.
        labels: Of the training images, sorted.

    Raises:
        ConfigError: If it is no classifier, sees other images, or no label is new.
    """
    from medvit.models.heads.classify import DefectClassifier

    net, card = find_weights(config.model.weights, workspace)
    if not isinstance(net, DefectClassifier):
        msg = f"model.weights={card.reference} is a {card.task} model, which has no classes to keep"
        raise ConfigError(msg, hint="name a model that `medvit train` made for images")
    own = {"side_px": config.data.side_px, "channels": config.data.channels}
    for key, value in own.items():
        trained = card.preprocessing.get(key, value)
        if trained != value:
            msg = f"data.{key}={value}, but {card.reference} was trained with {trained}"
            raise ConfigError(msg, hint=f"set data.{key}={trained}")
    new = tuple(label for label in labels if label not in card.classes)
    if not new:
        msg = f"no new class: {card.reference} knows {', '.join(labels) or 'none'} already"
        raise ConfigError(msg, hint="label images of the new class in split train")
    temperature = float(card.calibration.get("temperature", 1.0))
    arguments = dict(card.architecture.arguments)
    parents = (card.reference,)
    start = Start(net, (*card.classes, *new), arguments, parents, temperature)
    start.old_classes = len(card.classes)
    return start
