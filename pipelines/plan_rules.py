"""What a plan chooses for a data set, each choice with its reason; only what the code has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medvit.data.fingerprint import Fingerprint
from medvit.registry.registry import DEFAULT_NAMES

CNN_DATA, HYBRID_DATA = 2_000, 5_000
"""Training images below which a small CNN, or convolutions before attention, learn better."""

FEW_SHOTS = 10
KERNEL_TAIL = 10.0
"""Largest over smallest class; beyond it the loss has to make up for the tail."""
LARGE_PX = 512
SIDES_PX = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
STEPS = 1_500
TAIL = 1.5
NOISY = 0.05
"""Lower end of the noise interval from which a training has to reckon with wrong labels."""

MOST_WRONG = 0.5
LEAST_A_CLASS = 10
"""Training images of the rarest class below which small losses choose by luck."""


SHIPPED = DEFAULT_NAMES["defect"]
Way = Literal["learn", "cosine", "spread", "kernel"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of the config and why."""

    key: str
    value: str | int | float
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """What a training starts from.

    Attributes:
        weights: A registered model, or `none`.
        backbone: That of the model; empty where nobody can tell.
        reason: Why these.
    """

    weights: str = "none"
    backbone: str = ""
    reason: str = "named by --weights"


NOTHING_TRAINED = (Choice("train.epochs", 1, "none is needed: the head is computed"),)
SAMPLER = Choice("sampler.name", "none", "a tail is corrected once, by the loss")


def shipped_weights(found: Fingerprint, *, realtime: bool = False) -> tuple[str, str]:
    """Return the model to start from where none was named, or `none`, and why.

    The shipped one where that was measured: grey images, and a head that is computed.
    """
    if realtime:
        return "none", "real time was asked for, and the network that ships is not the lightest"
    if found.colour > found.grey:
        reason = (
            "the weights that ship are for grey images; medvit models import efficientnet_lite0 "
            "--channels colour, then --weights imagenet-lite0"
        )
        return "none", reason
    if found.median_px > LARGE_PX or _way(SHIPPED, found) == "learn":
        return (
            "none",
            f"--weights {SHIPPED} starts from ImageNet weights, not measured on such data",
        )
    reason = (
        "ImageNet weights that ship: did better than fresh ones; --weights none leaves them out"
    )
    return SHIPPED, reason


def choose(
    found: Fingerprint, *, start: Start = Start(), realtime: bool = False
) -> tuple[Choice, ...]:
    """Return the choices of a training config in the order of its keys.

    Args:
        realtime: Prefer a light network.
    """
    way = _way(start.weights, found)
    images, fewest = sum(found.train_counts.values()), min(found.train_counts.values())
    side = _side(found)
    return (
        Choice("data.side_px", side, _side_reason(found, side)),
        _channels(found),
        _backbone(found, images, start, realtime=realtime),
        Choice("model.weights", start.weights, start.reason),
        *_texture(way, start),
        *(_training(images, side) if way == "learn" else NOTHING_TRAINED),
        *((_loss(found), SAMPLER) if way == "learn" else ()),
        *_noise(found, fewest),
        _tuning(start.weights, way, fewest),
        *_prototype(way, found),
    )


def _training(images: int, side: int) -> tuple[Choice, ...]:
    batch = max(2, min(32, images // 2))
    epochs = max(10, min(100, round(STEPS * batch / images)))
    return (
        Choice("train.epochs", epochs, f"about {STEPS} steps of {batch} images, 10 to 100 epochs"),
        Choice("train.batch_size", batch, f"at most 32 and half of {images} training images"),
        Choice("train.lr", 5e-4, "of AdamW at batches of 32 from scratch, the shipped recipe"),
        Choice("views.side_px", max(32, side * 7 // 8 // 16 * 16), "views are about 7/8 a side"),
    )


def notes(found: Fingerprint) -> tuple[str, ...]:
    """Return what the data say that no key of the config can mend."""
    said = []
    if found.noise is not None and found.noise.low > NOISY:
        said.append(
            f"{found.noise.rate:.0%} of the labels seem wrong ({found.noise.low:.0%} to "
            f"{found.noise.high:.0%}), or classes look alike to simple features; look at them "
            "before training: medvit labels suspects"
        )
    if found.grey and found.colour:
        said.append(
            f"{found.grey} grey and {found.colour} colour images are mixed: a network could "
            "learn the camera instead of the defect"
        )
    _, height, width = found.largest
    if max(height, width) > LARGE_PX:
        said.append(
            f"the largest image, {found.largest[0]}, is {width}x{height}: reduced to one side, "
            "small defects vanish; cut it into tiles first"
        )
    if found.duplicates:
        said.append(f"{found.duplicates} pairs show the same surface: keep the groups whole")
    fewest = min(found.train_counts.values())
    if fewest <= FEW_SHOTS and found.unlabelled > sum(found.train_counts.values()):
        said.append(
            f"{found.unlabelled} images have no label: one may learn from them first, and plan "
            "with those weights, which paid less than ImageNet's on two sets: "
            "medvit pretrain pretrain/cnn_defects data.manifest=... data.root=... report=null"
        )
    rare = [name for name, count in found.train_counts.items() if count < 5]
    if rare:
        said.append(f"fewer than 5 training images: {', '.join(rare)}; their figures are luck")
    return tuple(said)


def _side(found: Fingerprint) -> int:
    return next((side for side in SIDES_PX if side >= min(found.median_px, 224)), 224)


def _side_reason(found: Fingerprint, side: int) -> str:
    if found.median_px > side:
        return f"images are {found.median_px} px at the median; more than {side} costs its square"
    return f"images are {found.median_px} px at the median; the next size that nets take"


def _channels(found: Fingerprint) -> Choice:
    if found.colour > found.grey:
        return Choice("data.channels", "colour", f"{found.colour} images differ between channels")
    return Choice("data.channels", "grey", f"{found.grey} images are grey, {found.colour} are not")


def _backbone(found: Fingerprint, images: int, start: Start, *, realtime: bool) -> Choice:
    key = "model.backbone"
    if start.backbone:
        return Choice(key, start.backbone, f"that of {start.weights}")
    if realtime:
        return Choice(key, "cnn_small", "real time was asked for: the lightest network")
    if found.median_px > LARGE_PX:
        return Choice(key, "swin2d_micro", f"hierarchical, for images of {found.median_px} px")
    if images < CNN_DATA:
        reason = (
            f"{images} training images are few: a small CNN learns most from them in equal time"
        )
        return Choice(key, "cnn_small", reason)
    if images < HYBRID_DATA:
        reason = f"{images} training images: convolutions first, attention after"
        return Choice(key, "hybrid_small", reason)
    return Choice(key, "vit_small", f"{images} training images are enough for a plain ViT")


def _way(weights: str, found: Fingerprint) -> Way:
    """Return how a head is computed of given weights that stay; `learn` where they do not."""
    images, fewest = sum(found.train_counts.values()), min(found.train_counts.values())
    if weights == "none":
        return "learn"
    if fewest <= FEW_SHOTS:
        return "spread" if found.unlabelled else "cosine"
    return "kernel" if images < CNN_DATA and found.imbalance <= KERNEL_TAIL else "learn"


def _texture(way: Way, start: Start) -> tuple[Choice, ...]:
    if way == "learn":
        return ()
    if start.backbone == "efficientnet_lite0" and way != "kernel":
        reason = "of ImageNet's features the spread of all maps tells more alone on few labels"
        return (Choice("model.texture", "maps", reason),)
    reason = "plain texture beside the network tells more than either alone"
    return (Choice("model.texture", True, reason),)


def _prototype(way: Way, found: Fingerprint) -> tuple[Choice, ...]:
    reasons = {
        "spread": f"labels flow to {found.unlabelled} images without one along nearest neighbours",
        "kernel": "likeness to each labelled image, of hundreds",
    }
    return (Choice("tuning.prototype", way, reasons[way]),) if way in reasons else ()


def _loss(found: Fingerprint) -> Choice:
    if found.imbalance <= TAIL:
        reason = f"the largest class is {found.imbalance:.1f} times the smallest: no tail"
        return Choice("loss.name", "cross_entropy", reason)
    reason = f"the largest class is {found.imbalance:.1f} times the smallest (arXiv 2007.07314)"
    return Choice("loss.name", "logit_adjustment", reason)


def _noise(found: Fingerprint, fewest: int) -> tuple[Choice, ...]:
    """Return which method learns around wrong labels, with the rate it is to reckon with."""
    key, noise = "noise.method", found.noise
    if noise is None:
        return (Choice(key, "none", "too few labels to tell how many are wrong"),)
    told = f"{noise.rate:.0%} of the labels seem wrong ({noise.low:.0%} to {noise.high:.0%})"
    if noise.low <= NOISY:
        return (Choice(key, "none", f"{told}: not surely more than {NOISY:.0%}"),)
    if noise.rate > MOST_WRONG:
        return (Choice(key, "none", f"{told}, more than half: no method helps, look at them"),)
    if fewest < LEAST_A_CLASS:
        reason = f"{told}, but the rarest class has {fewest} images: too few to leave any out"
        return (Choice(key, "none", reason),)
    rate = Choice("noise.rate", round(noise.rate, 3), "as estimated by grouped cross-validation")
    reason = f"{told}: the most suspicious are left out before training (arXiv 1911.00068)"
    return (Choice(key, "prune", reason), rate)


def _tuning(weights: str, way: Way, fewest: int) -> Choice:
    key = "tuning.method"
    if weights == "none":
        return Choice(key, "full", "from fresh weights everything has to be learnt")
    if way == "kernel":
        reason = f"below {CNN_DATA} images a head computed of given weights did better than tuning"
        return Choice(key, "prototype", reason)
    if way != "learn":
        return Choice(key, "prototype", f"the rarest class has {fewest} images: nothing to tune")
    return Choice(key, "layer_decay", "given weights change least where they are most general")
