"""Does pretraining pay? The same labels, with these weights and with others, over many draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.learn.tuning.prototype import cosine_head

ALL = 0
"""In place of a number of shots: all labels but one fifth of the groups, drawn anew."""
ALL_SHARE = 0.8
SPREAD_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class Score:
    """One way of learning from one draw of labels.

    Attributes:
        start: Which weights.
        way: `prototypes`, `linear` or `fine-tuned`.
        shots: Labels a class; `ALL` for all.
        draw: Number of the draw; the same for all starts.
        accuracy: On images of groups that are not in the support.
    """

    start: str
    way: str
    shots: int
    draw: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Payoff:
    """With one start and with another, on the same draws.

    Attributes:
        way: Of learning.
        shots: Labels a class; `ALL` for all.
        given: Mean accuracy with the weights in question.
        given_sd: Its sd over draws.
        plain: Mean accuracy without them.
        plain_sd: Its sd over draws.
        low: Lower end of the 95 % interval of the mean paired difference.
        high: Upper end.
    """

    way: str
    shots: int
    given: float
    given_sd: float
    plain: float
    plain_sd: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`paid` where the gain is sure, `cost` where the loss is, else `did not pay`."""
        if self.low > 0:
            return "paid"
        return "cost" if self.high < 0 else "did not pay"


def draw_support(
    labels: Sequence[int], groups: Sequence[str], *, shots: int, rng: np.random.Generator
) -> list[int]:
    """Draw places of labelled images: `shots` a class from different groups, or most of all.

    A class with fewer groups than shots gives more than one image of a group.

    Raises:
        ValueError: If a class has fewer images than shots.
    """
    order = rng.permutation(len(labels)).tolist()
    names = [groups[place] or f"alone {place}" for place in range(len(labels))]
    if shots == ALL:
        distinct = sorted({*names})
        kept = {*rng.permutation(distinct)[: math.ceil(ALL_SHARE * len(distinct))].tolist()}
        return sorted(place for place in order if names[place] in kept)
    chosen: list[int] = []
    for label in sorted({*labels}):
        own = [place for place in order if labels[place] == label]
        if len(own) < shots:
            msg = f"{shots} shots need as many images of each class, class {label} has {len(own)}"
            raise ValueError(msg)
        of_group: dict[str, int] = {}
        for place in own:
            of_group.setdefault(names[place], place)
        fresh = list(of_group.values())
        again = [place for place in own if place not in {*fresh}]
        chosen += (fresh + again)[:shots]
    return chosen


def linear_probe(features: Tensor, labels: Tensor, *, classes: int, penalty: float) -> LinearRule:
    """Return the multinomial logistic regression of standardised features.

    Args:
        features: Shape (n, d).
        labels: Class indices (n,).
        classes: How many there are.
        penalty: Times the sum of squared weights, is added to the mean loss.
    """
    mean, sd = features.mean(dim=0).double(), features.std(dim=0, correction=0).double()
    sd = sd.clamp(min=SPREAD_FLOOR)
    x = (features.double() - mean) / sd
    weight = torch.zeros(x.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight + bias, labels) + penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scaled = weight.detach() / sd[:, None]
    return LinearRule(scaled, bias.detach() - mean @ scaled)


@dataclass(frozen=True, slots=True, eq=False)
class LinearRule:
    """A linear head as two tensors in double precision, (d, k) and (k,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Return logits (n, k) of features (n, d)."""
        return features.double() @ self.weight + self.bias


def probe_accuracies(
    support: Tensor, labels: Tensor, query: Tensor, truth: Tensor, *, mean: Tensor
) -> dict[str, float]:
    """Return the accuracy of prototypes and of a linear probe.

    Args:
        support: Features (n, d).
        labels: Of the support, each class at least once, (n,).
        query: Features (m, d).
        truth: Of the query (m,).
        mean: Feature of all images without labels (d,), which prototypes are told from.
    """
    names = [str(number) for number in range(int(labels.max()) + 1)]
    near = cosine_head(support - mean, labels, names=names)
    penalty = 1e-2 if len(support) < 20 * len(names) else 1e-3
    probe = linear_probe(support, labels, classes=len(names), penalty=penalty)
    with torch.no_grad():
        guesses = {"prototypes": near(query - mean), "linear": probe(query)}
    return {way: share_right(logits, truth) for way, logits in guesses.items()}


def share_right(logits: Tensor, truth: Tensor) -> float:
    """Return the share of rows whose largest logit is that of their label."""
    return float((logits.argmax(dim=1) == truth).double().mean())


def payoffs(scores: Sequence[Score], *, given: str, plain: str) -> list[Payoff]:
    """Compare two starts for each way and number of shots, draw by draw.

    The interval is Student's of the mean difference: it covers which labels were drawn, not
    which images were asked for.

    Raises:
        ValueError: If a comparison has fewer than two draws in common.
    """
    table = {(s.start, s.way, s.shots, s.draw): s.accuracy for s in scores}
    found = []
    for way, shots in dict.fromkeys((s.way, s.shots) for s in scores):
        draws = sorted(
            {draw for start, *rest, draw in table if start == given and rest == [way, shots]}
            & {draw for start, *rest, draw in table if start == plain and rest == [way, shots]}
        )
        if len(draws) < 2:
            msg = f"{way} with {shots} shots: a spread needs two draws of both, got {len(draws)}"
            raise ValueError(msg)
        ours = np.array([table[given, way, shots, draw] for draw in draws])
        theirs = np.array([table[plain, way, shots, draw] for draw in draws])
        gain = ours - theirs
        half = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / len(gain) ** 0.5
        found.append(
            Payoff(
                way,
                shots,
                given=float(ours.mean()),
                given_sd=float(ours.std(ddof=1)),
                plain=float(theirs.mean()),
                plain_sd=float(theirs.std(ddof=1)),
                low=float(gain.mean() - half),
                high=float(gain.mean() + half),
            )
        )
    return found


def overall(found: Sequence[Payoff]) -> str:
    """Return `paid` if something surely gained, by the way that is best without it, at some shots.

    Only the best way without the weights counts at each number of shots: to beat a way that
    nobody would choose proves nothing. A sure loss at any number of shots makes it
    `did not pay`.
    """
    best: dict[int, float] = {}
    for one in found:
        best[one.shots] = max(best.get(one.shots, 0.0), one.plain)
    gains, losses = False, False
    for shots, plain in best.items():
        rows = [one for one in found if one.shots == shots]
        ours = max(rows, key=lambda one: one.given)
        rival = next(one for one in rows if one.plain == plain)
        half = (ours.high - ours.low) / 2
        gain = ours.given - rival.plain
        gains, losses = gains or gain > half, losses or gain < -half
    return "paid" if gains and not losses else "did not pay"
