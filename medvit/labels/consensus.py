"""Several readers, one answer: by majority, or weighted by how often each agrees with the others.

Dawid and Skene 1979, with one number a reader: the chance to be right. A wrong answer is any of
the others alike.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["weighted", "majority"]

PRIOR_RIGHT, PRIOR_WRONG = 4.0, 1.0
"""A reader of whom nothing is known counts as one who was right four times of five."""

LEAST_SURE = 2 / 3
"""An answer that is less sure than this is a disagreement, not a label."""

ROUNDS = 100
CONVERGED = 1e-9


@dataclass(frozen=True, slots=True)
class Vote:
    """What one reader answers to one question."""

    item: str
    reader: str
    answer: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes on one item come to.

    Attributes:
        answer: The likeliest answer, also where it is not settled.
        confidence: Probability of it, or its share of the votes by majority.
        is_settled: Whether the answer is sure enough to be a label.
        votes: How many readers gave each answer.
    """

    answer: str
    confidence: float
    is_settled: bool
    votes: Mapping[str, int]


def reader_skills(votes: Sequence[Vote]) -> dict[str, float]:
    """Return for each reader the chance to be right, from items that several readers answered.

    Examples:
        >>> reader_skills([Vote("a", "ann", "dent")])
        {'ann': 0.8}
        >>> two = [Vote("a", "ann", "dent"), Vote("a", "ben", "rust")]
        >>> {name: round(skill, 3) for name, skill in reader_skills(two).items()}
        {'ann': 0.75, 'ben': 0.75}
    """
    by_item = _by_item(votes)
    shared = {item: given for item, given in by_item.items() if len(given) > 1}
    answers = len({vote.answer for vote in votes})
    prior = PRIOR_RIGHT / (PRIOR_RIGHT + PRIOR_WRONG)
    skills = dict.fromkeys(sorted({vote.reader for vote in votes}), prior)
    for _ in range(ROUNDS):
        right = dict.fromkeys(skills, PRIOR_RIGHT)
        asked = dict.fromkeys(skills, PRIOR_RIGHT + PRIOR_WRONG)
        for given in shared.values():
            chances = _chances(given, skills, answers=answers)
            for reader, answer in given.items():
                right[reader] += chances[answer]
                asked[reader] += 1
        fresh = {reader: right[reader] / asked[reader] for reader in skills}
        moved = max((abs(fresh[reader] - skills[reader]) for reader in skills), default=0.0)
        skills = fresh
        if moved < CONVERGED:
            break
    return skills


def settle(
    votes: Sequence[Vote], skills: Mapping[str, float], *, method: Method = "weighted"
) -> dict[str, Verdict]:
    """Return the verdict on every item.

    Args:
        votes: At most one of a reader on an item.
        skills: As `reader_skills` gives them, of these and other votes.
        method: `weighted` takes the likeliest answer; `majority` that of more than half.

    Raises:
        ValueError: If a reader votes twice on an item.
    """
    answers = len({vote.answer for vote in votes})
    verdicts = {}
    for item, given in _by_item(votes).items():
        counts = Counter(given.values())
        if method == "majority":
            chances = {answer: count / len(given) for answer, count in counts.items()}
        else:
            chances = _chances(given, skills, answers=answers)
        answer = max(sorted(chances), key=lambda name: chances[name])
        least = 0.5 if method == "majority" else LEAST_SURE
        sure = chances[answer]
        verdicts[item] = Verdict(answer, sure, sure > least, dict(sorted(counts.items())))
    return verdicts


def _by_item(votes: Sequence[Vote]) -> dict[str, dict[str, str]]:
    by_item: dict[str, dict[str, str]] = defaultdict(dict)
    for vote in votes:
        if vote.reader in by_item[vote.item]:
            msg = f"a reader votes once on an item, {vote.reader!r} twice on {vote.item!r}"
            raise ValueError(msg)
        by_item[vote.item][vote.reader] = vote.answer
    return dict(by_item)


def _chances(
    given: Mapping[str, str], skills: Mapping[str, float], *, answers: int
) -> dict[str, float]:
    """Return the probability of each answer that was given, and of none of them together."""
    others = max(1, answers - 1)
    logs = {
        answer: sum(
            math.log(skills[reader] if said == answer else (1 - skills[reader]) / others)
            for reader, said in given.items()
        )
        for answer in {*given.values()}
    }
    unsaid = max(0, max(2, answers) - len(logs))
    silent = sum(math.log((1 - skills[reader]) / others) for reader in given)
    top = max(*logs.values(), silent)
    shares = {answer: math.exp(value - top) for answer, value in logs.items()}
    total = sum(shares.values()) + unsaid * math.exp(silent - top)
    return {answer: share / total for answer, share in shares.items()}
