"""A new class from a few images by a likelihood ratio, while old logits stay as they are.

As in linear discriminant analysis, classes are Gaussians with one covariance; that of the old
classes is estimated from held-out images, so five images of the new class need give no more
than its mean. Against the row of `new_class.py` (a direction compared by cosine), six classes of
steel each withheld in turn: `benchmarks/retrain.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.tuning.new_class import LEAST_HELD_OUT
from medvit.learn.tuning.prototype import class_means, shrunk_covariance
from medvit.models.heads.novel import NovelHead

SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
JUST_BELOW = 1e-4

MOST_DIRECTIONS = 128
"""Of more features, those along as many directions in which held-out images differ most count.

With 2,912 features and 1,000 images the covariance is learnt by heart: new images of old classes
lie farther from their means than those that set the offset, and one in ten moved. Chosen on NEU.
"""

MOST_OF_A_CLASS = 3.0
"""An old class may lose this many times the share that all of them together may lose."""


@torch.no_grad()
def add_novel_class(
    base: nn.Module, support: Tensor, held_out: Tensor, *, most_moved: float = 0.01
) -> NovelHead:
    """Return a head with one more class.

    The offset is the largest that moves at most `most_moved` of the held-out images, and of no
    old class more than three times that share: a newcomer mostly takes from its neighbour.
    The scale does not change which class wins; the one is kept that gives the least loss to
    the held-out images and to the support, each image left out of the mean once.

    Args:
        base: The old head, which is kept as it is.
        support: Features of the new class, shape (n, d).
        held_out: Features of old classes, shape (m, d); what the old head calls them counts.
        most_moved: Share of the held-out images that may move to the new class.

    Raises:
        ValueError: If there is no support, or too few held-out images.
    """
    if not len(support) or len(held_out) < LEAST_HELD_OUT:
        msg = (
            f"a new class needs an image, and {LEAST_HELD_OUT} held-out images of old classes to "
            f"be told from, got {len(support)} and {len(held_out)}"
        )
        raise ValueError(msg)
    old = base(held_out)
    called, numbers = old.argmax(1).unique(return_inverse=True)
    wide = held_out.double()
    means = class_means(wide, numbers, classes=len(called))
    whiten = _whitening(wide, means[numbers])
    channels, directions = whiten.shape
    head = NovelHead(base, channels, old=old.shape[1], means=len(called), directions=directions)
    head.whiten.copy_(whiten)
    head.old_means.copy_(means @ whiten)
    head.mean.copy_(support.double().mean(0) @ whiten)
    room = -_held_out_ratios(head, held_out, numbers)  # an offset above this moves the image
    shares = [(room, most_moved)]
    shares += [(room[numbers == k], MOST_OF_A_CLASS * most_moved) for k in range(len(called))]
    least = min(float(own.sort().values[int(share * len(own))]) for own, share in shares)
    head.offset.fill_(least - JUST_BELOW)
    head.scale.fill_(_best_scale(head, support, held_out))
    return head


def _whitening(features: Tensor, means: Tensor) -> Tensor:
    """Return what gives features (n, d) less their means unit covariance, (d, r)."""
    if features.shape[1] <= MOST_DIRECTIONS:
        return _factor(shrunk_covariance(features, means))
    _, _, rows = torch.linalg.svd(features - features.mean(0), full_matrices=False)
    along: Tensor = rows[:MOST_DIRECTIONS].mT
    return along @ _factor(shrunk_covariance(features @ along, means @ along))


def _factor(covariance: Tensor) -> Tensor:
    factor: Tensor = torch.linalg.cholesky(torch.linalg.inv(covariance))
    return factor


def _best_scale(head: NovelHead, support: Tensor, held_out: Tensor) -> float:
    """Return the scale of the least loss; a lone image of the new class counts as it is."""
    images = torch.cat([held_out, support])
    old = head.base(images)
    ahead = torch.cat([head.ratio(held_out), _left_out_ratios(head, support)]) + head.offset
    new = torch.full((len(support),), old.shape[1])
    truth = torch.cat([old[: len(held_out)].argmax(1), new])

    def loss(scale: float) -> float:
        logits = torch.cat([old, (old.max(1).values + scale * ahead)[:, None]], dim=1)
        return float(F.cross_entropy(logits, truth))

    return min(SCALES, key=loss)


def _held_out_ratios(head: NovelHead, held_out: Tensor, numbers: Tensor) -> Tensor:
    """Return the ratio of each image, itself left out of the mean of its class.

    Without it a class of few images would seem nearer to itself than new images of it are.
    """
    white = held_out.float() @ head.whiten
    apart = ((white[:, None] - head.old_means) ** 2).sum(2)  # (m, k)
    sizes = torch.bincount(numbers, minlength=len(head.old_means))[numbers].float()
    farther = (sizes / (sizes - 1)) ** 2  # infinite for the only image of a class
    rows = torch.arange(len(white))
    apart[rows, numbers] = (apart[rows, numbers] * farther).nan_to_num(nan=torch.inf)
    own = ((white - head.mean) ** 2).sum(1)
    return (apart.min(1).values - own) / 2


def _left_out_ratios(head: NovelHead, support: Tensor) -> Tensor:
    """Return the ratio of each image to the mean of the others."""
    if len(support) == 1:
        return head.ratio(support)
    white = support.float() @ head.whiten
    others = (white.sum(0) - white) / (len(white) - 1)
    own = ((white - others) ** 2).sum(1)
    apart = ((white[:, None] - head.old_means) ** 2).sum(2).min(1).values
    return (apart - own) / 2
