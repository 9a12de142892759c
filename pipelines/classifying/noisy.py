"""Train on labels that may be wrong: how many are, two networks, and the better one ships."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.classifying.config import ClassifyConfig
from pipelines.classifying.start import Start, start_anew
from pipelines.classifying.tune import prepare_tuning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch.utils.data import DataLoader

    from medvit.data.labelled import LabelledImages
    from medvit.data.manifest import Manifest
    from medvit.learn.noise.evidence import Evidence
    from medvit.learn.noise.two_nets import NoisyLabels, Pair, TwoNets
    from medvit.learn.tuning.tuned import Tuned

LEAST_FOR_ALL_WRONG = 10
"""Images of a class below which it may be chance, or rarity, that nothing speaks for it."""

MOST_BY_CHANCE = 1 / 3
"""Share of a class's images that a classifier names so even where the labels are drawn by lot."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoiseFound:
    """What is taken to be known of the labels, and how a run records it."""

    noisy: NoisyLabels
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Second:
    """The other network: other weights, and a head drawn anew."""

    start: Start
    tuned: Tuned


def second_network(
    config: ClassifyConfig, workspace: Workspace, *, classes: tuple[str, ...]
) -> Second:
    """Return a network as the config's first, drawn with the next seed."""
    train = config.train.model_copy(update={"seed": config.train.seed + 1})
    other = config.model_copy(update={"train": train})
    start = start_anew(other, workspace, classes=classes)
    return Second(start, prepare_tuning(start, other))


def find_noise(
    config: ClassifyConfig, manifest: Manifest, train: LabelledImages, *, classes: Sequence[str]
) -> NoiseFound:
    """Return the noise of the training labels: as the config says, or estimated.

    Raises:
        ConfigError: If labels are soft, more than half of them look wrong, all of a class do,
            or there are too few to tell.
    """
    from medvit.learn.noise.two_nets import by_joint, evenly_wrong

    name = f"noise.method={config.noise.method}"
    if train.targets.ndim == 2:
        msg = (
            f"{manifest.file}: {name} asks which labels are wrong, but soft labels say "
            "themselves how sure they are"
        )
        raise ConfigError(msg, hint="set noise.method=none, which learns from soft labels as such")
    rate = config.noise.rate
    if not isinstance(rate, str):
        noisy = evenly_wrong(train.labels, classes=len(classes), rate=rate)
        return _found(config, noisy, classes, record={"rate": rate, "source": "noise.rate"})
    groups = groups_of(manifest, train.paths)
    try:
        evidence = weigh(train.images, train.labels.numpy(), groups=groups)
    except ValueError as error:
        msg = f"{manifest.file}: noise.rate=auto cannot be estimated: {error}"
        raise ConfigError(msg, hint="set noise.rate=0.2, or what you know of the labels") from error
    check_rate(evidence, train.labels.numpy(), classes=classes, file=manifest.file)
    noisy = by_joint(train.labels, evidence.estimate.joint)
    return _found(config, noisy, classes, record=rate_record(evidence))


def weigh(
    images: NDArray[np.uint8],
    labels: NDArray[np.intp],
    *,
    groups: Sequence[str],
    others: Sequence[NDArray[np.float64]] = (),
) -> Evidence:
    """Weigh labels by the texture of their images (n, h, w) or (n, h, w, 3).

    Args:
        others: Further features (n, d) to judge by.

    Raises:
        ValueError: If there is one class or one group only.
    """
    import numpy as np

    from medvit.data.texture import texture_features
    from medvit.learn.noise.evidence import weigh_labels

    if len(np.unique(groups)) < 2:
        msg = f"labels are judged by images of other groups, got {len(set(groups))} group"
        raise ValueError(msg)
    grey = images if images.ndim == 3 else images.mean(axis=3).round().astype(np.uint8)
    features = np.stack([texture_features(image) for image in grey])
    return weigh_labels([features, *others], labels, groups=groups)


def groups_of(manifest: Manifest, paths: Sequence[str]) -> list[str]:
    """Return the group of each image; without one it is its own."""
    group = {row.path: row.group or row.path for row in manifest.rows}
    return [group[path] for path in paths]


def rate_record(evidence: Evidence) -> dict[str, Any]:
    """Return the noise rate with its interval and what contradicts it."""
    estimate = evidence.estimate
    record: dict[str, Any] = {
        "rate": round(estimate.noise_rate, 4),
        "interval": [round(edge, 4) for edge in estimate.interval],
        "mixture_rate": None if evidence.mixture_rate is None else round(evidence.mixture_rate, 4),
        "source": "texture, 5 folds by group",
    }
    if evidence.rates_differ:
        logger.warning(
            "noise rates differ: %.0f %% by cross-validation, %.0f %% by a mixture of losses",
            100 * estimate.noise_rate,
            100 * (evidence.mixture_rate or 0),
        )
    return record


def check_rate(
    evidence: Evidence, labels: NDArray[np.intp], *, classes: Sequence[str], file: Path
) -> None:
    """Refuse labels that teach the wrong thing.

    Raises:
        ConfigError: If more than half seem wrong, or all of a class; the message says which.
    """
    from medvit.learn.noise.two_nets import MOST_WRONG

    estimate = evidence.estimate
    hint = f"look at them: medvit labels suspects --manifest {file}"
    if estimate.noise_rate > MOST_WRONG:
        low, high = estimate.interval
        msg = (
            f"{file}: {estimate.noise_rate:.0%} of the labels seem wrong ({low:.0%} to {high:.0%}),"
            " more than one half; no method can tell which half is right"
        )
        raise ConfigError(msg, hint=f"{hint}; or set noise.rate, at most 0.5")
    for number, name in enumerate(classes):
        own = labels == number
        count = int(own.sum())
        by_class, by_votes = evidence.support(labels, number)
        if count >= LEAST_FOR_ALL_WRONG and by_class <= MOST_BY_CHANCE and by_votes == 0:
            other = classes[int(evidence.probabilities[own].sum(axis=0).argmax())]
            msg = (
                f"{file}: all {count} labels {name!r} seem wrong, most look like {other!r}: there "
                "is nothing to learn the class from"
            )
            raise ConfigError(msg, hint=f"{hint}; or set noise.rate by hand")


def _found(
    config: ClassifyConfig, noisy: NoisyLabels, classes: Sequence[str], *, record: dict[str, Any]
) -> NoiseFound:
    from dataclasses import replace

    import torch

    shift = torch.zeros(len(classes))
    if config.loss.name != "cross_entropy":
        shift = noisy.prior.log()
    noisy = replace(noisy, shift=shift, smoothing=config.loss.label_smoothing)
    shares = [round(share, 4) for share in noisy.wrong_shares.tolist()]
    record = {"method": config.noise.method, **record}
    record["wrong_shares"] = dict(zip(classes, shares, strict=True))
    if config.noise.method == "dividemix":
        record["guess_weight"] = _guess_weight(config, noisy.rate)
    logger.info("noise: %s", record)
    return NoiseFound(noisy, record)


def _guess_weight(config: ClassifyConfig, rate: float) -> float:
    from medvit.learn.noise.dividemix import unlabelled_weight_for

    given = config.noise.guess_weight
    return unlabelled_weight_for(rate) if isinstance(given, str) else given


def build_learner(config: ClassifyConfig, pair: Pair, noise: NoiseFound) -> TwoNets:
    """Return the two networks with the loss of the config's method."""
    from medvit.learn.noise.co_teaching import CoTeaching
    from medvit.learn.noise.dividemix import DivideMix, MixSettings

    own = config.noise
    if own.method == "co_teaching":
        return CoTeaching(pair, noise.noisy, ramp_epochs=own.ramp_epochs)
    settings = MixSettings(
        warm_up=own.warm_up_epochs,
        ramp=own.ramp_epochs,
        unlabelled_weight=_guess_weight(config, noise.noisy.rate),
        temperature=own.temperature,
        alpha=own.alpha,
        penalise_confidence=own.penalise_confidence,
    )
    return DivideMix(pair, noise.noisy, settings=settings)


def placed_batches(config: ClassifyConfig, train: LabelledImages) -> DataLoader[Any]:
    """Return batches of views that both networks see: one of each image, or two to divide."""
    from torch.utils.data import DataLoader

    from medvit.data.augment.surface import SurfaceViews, ViewSettings
    from medvit.data.surface import EpochOrder
    from medvit.learn.noise.two_nets import PlacedViews

    seed = config.train.seed
    views = PlacedViews(
        train.images,
        train.labels,
        views=SurfaceViews(ViewSettings(**config.views.model_dump())),
        seed=seed,
        count=2 if config.noise.method == "dividemix" else 1,
    )
    return DataLoader(
        views,
        batch_size=config.train.batch_size,
        sampler=EpochOrder(len(train.paths), seed=seed),
        drop_last=True,
    )


def choose_network(start: Start, pair: Pair, val: LabelledImages, noise: NoiseFound) -> None:
    """Let the network with the lower loss on split val be the classifier, and record it."""
    from medvit.learn.noise.two_nets import better_net

    which, losses = better_net(pair, val.images, val.labels)
    start.net = pair.nets[which]  # type: ignore[assignment]
    noise.record["ships"] = ("first", "second")[which] + " of two networks"
    noise.record["val_losses"] = [round(loss, 5) for loss in losses] if val.paths else []
