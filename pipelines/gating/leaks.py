"""Was a model trained on frozen cases? Its lineage tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medvit.registry.lineage import image_mark, lineage_of, mark_of
from pipelines.gating.frozen import FrozenCases, FrozenImages
from pipelines.gating.frozen_boxes import FrozenBoxes

if TYPE_CHECKING:
    from medvit.registry.registry import ModelVersion

MOST_NAMES = 3
"""Cases that are named in a sentence."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """What came out.

    Attributes:
        found: A sentence for each model that saw frozen cases, or others of their groups.
        unknown: A sentence on models of which that cannot be told; empty if there are none.
    """

    found: tuple[str, ...]
    unknown: tuple[str, ...]


def find_leaks(frozen: FrozenCases, versions: Sequence[ModelVersion]) -> Leaks:
    """Compare frozen cases with what models and their parents were trained on.

    Raises:
        ModelError: If a lineage cannot be read.
        ReadError: If an image cannot be decoded.
    """
    lines = {version.reference: lineage_of(version) for version in versions}
    silent = dict.fromkeys(name for line in lines.values() for name in line.unknown)
    unknown: tuple[str, ...] = ()
    if silent:
        unknown = (f"not known to have been trained on other cases alone: {', '.join(silent)}",)
    if not any(line.seen.cases or line.seen.groups for line in lines.values()):
        return Leaks((), unknown)
    marks = _case_marks(frozen)
    groups = {mark_of(group): group for group in sorted(set(frozen.named_groups))}
    found = []
    for reference, line in lines.items():
        cases = [name for name, mark in marks if mark in line.seen.cases]
        shared = [name for mark, name in groups.items() if mark in line.seen.groups]
        if cases:
            found.append(
                f"{reference} was trained on {len(cases)} of the {len(marks)} frozen cases: "
                f"{_named(cases)}"
            )
        elif shared:
            found.append(
                f"{reference} was trained on other cases of {len(shared)} frozen groups: "
                f"{_named(shared)}"
            )
    return Leaks(tuple(found), unknown)


def _case_marks(frozen: FrozenCases) -> list[tuple[str, str]]:
    if isinstance(frozen, FrozenImages | FrozenBoxes):
        return [(image.path, image_mark(frozen.root / image.path)) for image in frozen.cases]
    return [(scan.name, mark_of(scan.name)) for scan in frozen.cases]


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
