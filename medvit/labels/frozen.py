"""Which labelled cases are learnt from and which are kept to judge models: once frozen, always."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "val", "test", ""]

FROZEN: Split = "test"
LEFT_OUT: Split = ""


@dataclass(frozen=True, slots=True)
class FreezeSettings:
    """How much of each class is kept back.

    Attributes:
        test: Share of a class that is frozen to judge models.
        val: Share that is held out to calibrate.
        least_train: Groups of a class that are learnt from before any is kept back: a new class
            needs them all.
        salt: Another salt gives another choice.
    """

    test: float = 0.25
    val: float = 0.15
    least_train: int = 5
    salt: str = "medvit"

    def __post_init__(self) -> None:
        if min(self.test, self.val) < 0 or self.test + self.val >= 1:
            msg = f"shares must be >= 0 and sum to < 1, got test {self.test}, val {self.val}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Placed:
    """A labelled case, the group it belongs to, and where it was put before.

    Attributes:
        name: Unique.
        group: Cases of one group never straddle splits.
        split: Of an earlier version, or of the importer; None for a case that is new.
    """

    name: str
    label: str
    group: str
    split: Split | None = None


def choose_splits(
    cases: Sequence[Placed], *, settings: FreezeSettings | None = None
) -> dict[str, Split]:
    """Return the split of every case.

    What was frozen stays frozen, and so do new cases of its group. A case that was learnt
    from and turns out to belong to a frozen group is left out from now on: it may neither be
    learnt from again nor judge a model that has seen it. New groups are taken in the order
    of SHA-256 of salt and name, so adding cases moves no other.

    Examples:
        >>> old = [Placed("a", "dent", "g1", "test"), Placed("b", "dent", "g2", "train")]
        >>> choose_splits([*old, Placed("c", "dent", "g1"), Placed("d", "dent", "g2")])
        {'a': 'test', 'b': 'train', 'c': 'test', 'd': 'train'}
    """
    settings = settings or FreezeSettings()
    members: dict[str, list[Placed]] = defaultdict(list)
    for case in cases:
        members[case.group].append(case)
    splits: dict[str, Split] = {}
    fresh: list[str] = []
    for group, own in members.items():
        known = {case.split for case in own if case.split}
        if FROZEN in known:
            splits |= {
                case.name: FROZEN if case.split in (FROZEN, None, "") else LEFT_OUT for case in own
            }
        elif known:
            side: Split = "train" if "train" in known else "val"
            splits |= {case.name: side for case in own}
        else:
            fresh.append(group)
    _deal(fresh, members, splits, settings)
    return {case.name: splits[case.name] for case in cases}


def _deal(
    fresh: Sequence[str],
    members: dict[str, list[Placed]],
    splits: dict[str, Split],
    settings: FreezeSettings,
) -> None:
    """Give each new group a side: the first to learn from, then test and val up to their share."""
    totals = Counter(case.label for own in members.values() for case in own)
    filled: Counter[tuple[str, Split]] = Counter()
    learnt: Counter[str] = Counter()
    for own in members.values():
        for case in own:
            if case.name in splits:
                filled[case.label, splits[case.name]] += 1
        if own[0].name in splits and splits[own[0].name] == "train":
            learnt[own[0].label] += 1
    for group in sorted(fresh, key=lambda name: _rank(settings.salt, name)):
        own = members[group]
        label = Counter(case.label for case in own).most_common(1)[0][0]
        side: Split = "train"
        if learnt[label] >= settings.least_train:
            for name, share in ((FROZEN, settings.test), ("val", settings.val)):
                if filled[label, name] < int(share * totals[label]):
                    side = name
                    break
        learnt[label] += side == "train"
        filled.update((case.label, side) for case in own)
        splits |= {case.name: side for case in own}


def _rank(salt: str, group: str) -> str:
    return hashlib.sha256(f"{salt}\0{group}".encode()).hexdigest()
