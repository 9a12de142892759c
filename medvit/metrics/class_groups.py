"""How well frequent and rare classes do, in three groups by their training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MANY = 100
FEW = 20
"""Liu 2019, arXiv 1904.05160: many is more than 100 training images, few is less than 20."""

GROUPS = ("many", "medium", "few")


def group_of(count: float) -> str:
    """Return the group of a class by its training images.

    Examples:
        >>> [group_of(count) for count in (101, 100, 20, 19)]
        ['many', 'medium', 'medium', 'few']
    """
    if count > MANY:
        return "many"
    return "few" if count < FEW else "medium"


def by_frequency(
    per_class: Mapping[str, Mapping[str, float]], train_counts: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Return mean recall, images and classes of each group that has a scored class.

    Args:
        per_class: `recall` and `n` of each class, as `score_classification` gives them.
        train_counts: Training images of each class; one that is missing had none.
    """
    found: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        names = [
            name
            for name, row in per_class.items()
            if row["n"] and group_of(train_counts.get(name, 0)) == group
        ]
        if names:
            recalls = [per_class[name]["recall"] for name in names]
            found[group] = {
                "recall": sum(recalls) / len(recalls),
                "n": int(sum(per_class[name]["n"] for name in names)),
                "classes": names,
            }
    return found
