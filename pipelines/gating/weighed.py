"""What the frozen cases say of two models, whatever kind they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medvit.metrics.noninferiority import Evidence
from medvit.report.gate_report import Figure, Flip, GroupRow

if TYPE_CHECKING:
    from medvit.registry.registry import ModelVersion

MOST_FLIPS = 40
MOST_GROUPS = 20

Pair = tuple["ModelVersion", "ModelVersion"]
"""Champion and challenger."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """Evidence for the verdict, and what helps to understand it.

    Attributes:
        evidence: What the verdict is taken from.
        figures: Further figures of both models, the operating point among them.
        groups: Parts or patients whose answers changed most.
        flips: Cases that one model got right and the other wrong.
        cases: Images or nodules that count for the primary figure.
        notes: What is odd about the cases.
    """

    evidence: Evidence
    figures: tuple[Figure, ...]
    groups: tuple[GroupRow, ...]
    flips: tuple[Flip, ...]
    cases: int
    notes: tuple[str, ...] = ()
