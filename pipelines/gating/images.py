"""Two classifiers on frozen images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medvit.metrics.noninferiority import Draws, Evidence, Learned, Verdict, share_claims, weigh

if TYPE_CHECKING:
    from medvit.registry.registry import ModelVersion
    from pipelines.gating.frozen import FrozenImages
    from pipelines.gating.settings import GateSettings


def weigh_images(
    champion: ModelVersion,
    challenger: ModelVersion,
    frozen: FrozenImages,
    *,
    settings: GateSettings,
) -> tuple[Verdict, dict[str, Any]]:
    """Return the verdict on a classifier."""
    from medvit.models.weights import read_card

    known, old = ({*read_card(each.folder).classes} for each in (challenger, champion))
    said = {each.reference: _labels(each, frozen) for each in (champion, challenger)}
    truth = np.array([image.label for image in frozen.images])
    right = {name: np.array(labels) == truth for name, labels in said.items()}
    shared = np.array([label in known & old for label in truth])
    groups = np.unique([image.group for image in frozen.images], return_inverse=True)[1]
    classes = sorted({*truth[shared].tolist()})
    parts = {"accuracy": np.ones(int(shared.sum()), dtype=np.bool_)}
    parts |= {name: truth[shared] == name for name in classes}
    claims = share_claims(
        right[challenger.reference][shared],
        right[champion.reference][shared],
        groups[shared],
        parts=parts,
        margins={"accuracy": settings.margin} | dict.fromkeys(classes, settings.class_margin),
        draws=Draws(settings.rounds, settings.seed, settings.least_cases, settings.least_groups),
    )
    learned = []
    for name in sorted(known - old):
        inside = truth == name
        hits = int(right[challenger.reference][inside].sum())
        learned.append(Learned(name, hits, int(inside.sum())))
    lost = {name: int((truth == name).sum()) for name in sorted(old - known)}
    lost = {name: n for name, n in lost.items() if n and name not in settings.dropped_classes}
    evidence = Evidence(claims[0], claims[1:], tuple(learned), lost)
    verdict = weigh(
        evidence,
        holds_rare=settings.rare_classes == "hold",
        learned_recall=settings.new_class_recall,
    )
    return verdict, {}


def _labels(version: ModelVersion, frozen: FrozenImages) -> list[str]:
    from medvit.data.surface import load_images
    from medvit.learn.classify import predict_logits
    from medvit.models.weights import load_model

    net, card = load_model(version.folder)
    how = card.preprocessing
    pixels = load_images(
        frozen.root,
        [image.path for image in frozen.images],
        side_px=int(how["side_px"]),
        channels=how.get("channels", "grey"),
    )
    return [card.classes[at] for at in predict_logits(net, pixels).argmax(dim=1).tolist()]
