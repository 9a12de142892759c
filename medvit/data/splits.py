"""Splits that keep groups whole and do not move when data are added."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medvit.data.manifest import ManifestRow


@dataclass(frozen=True, slots=True)
class SplitShares:
    """How much of each class goes where; the rest is for training.

    Attributes:
        val: Share held out for calibration.
        test: Share held out for the reported figures.
        salt: Another salt gives another split.
    """

    val: float = 0.15
    test: float = 0.20
    salt: str = "medvit"

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            msg = f"val and test shares must be >= 0 and sum to < 1, got {self.val}, {self.test}"
            raise ValueError(msg)


def split_by_group(rows: Sequence[ManifestRow], *, shares: SplitShares) -> tuple[ManifestRow, ...]:
    """Return the rows with their split filled in.

    A group with a member that has a split already stays there: data that are added move
    nothing. Members on several sides follow the largest part, equal parts go to train.
    The other groups are taken in the order of SHA-256 of salt and group name. Each goes,
    by its most frequent class, to test until that class has its share there,
    then to val, then to train.
    """
    members: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        members[row.group or row.path].append(row)
    totals = Counter(row.label for row in rows)
    filled: Counter[tuple[str, str]] = Counter()
    split_of: dict[str, str] = {}
    for group, own in members.items():
        placed = Counter(row.split for row in own if row.split)
        if placed:
            split_of[group] = max(placed, key=lambda name: (placed[name], name == "train", name))
            filled.update((split_of[group], row.label) for row in own)
    fresh = [group for group in members if group not in split_of]
    for group in sorted(fresh, key=lambda name: _rank(shares.salt, name)):
        label = Counter(row.label for row in members[group]).most_common(1)[0][0]
        split = "train"
        for name, share in (("test", shares.test), ("val", shares.val)):
            if filled[name, label] < round(share * totals[label]):
                split = name
                break
        filled.update((split, row.label) for row in members[group])
        split_of[group] = split
    return tuple(replace(row, split=split_of[row.group or row.path]) for row in rows)


def unseen_classes(rows: Sequence[ManifestRow]) -> tuple[str, ...]:
    """Return the classes that are tested or validated but never trained on."""
    trained = {row.label for row in rows if row.split == "train"}
    judged = {row.label for row in rows if row.split in ("val", "test") and row.label}
    return tuple(sorted(judged - trained))


def _rank(salt: str, group: str) -> str:
    return hashlib.sha256(f"{salt}\0{group}".encode()).hexdigest()
