"""What the examination of one case gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medvit.findings.finding import Finding
from medvit.findings.nodule import NoduleDetail
from medvit.io.case import Reason, Verdict
from medvit.tiles.budget import BudgetError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one case gave, before time and memory are added.

    Attributes:
        details: What is told of nodules beside their findings, by finding id.
        pictures: Data URIs, by finding id or case id.
        ood: How far an image is beyond what the model was trained on; see `CaseResult`.
        features: What the head of an image classifier read; empty for all else.
        is_partial: Whether time was up before the end; the case is gone on with later.
        budget_error: Why the case does not fit into the memory there is, if it does not.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    label: str = ""
    probability: float | None = None
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, NoduleDetail] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    ood: float | None = None
    features: tuple[float, ...] = ()
    predicted_peak_mb: float = 0.0
    is_partial: bool = False
    budget_error: BudgetError | None = None
