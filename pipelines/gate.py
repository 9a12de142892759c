"""The gate: champion and challenger on the same frozen cases, a verdict, and a page to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.errors import InputError
from medvit.metrics.noninferiority import Answer
from pipelines.gating.frozen import FrozenCases, FrozenImages, frozen_images, frozen_scans
from pipelines.gating.settings import GateSettings

if TYPE_CHECKING:
    from medvit.registry.registry import ModelVersion

__all__ = [
    "FrozenCases",
    "GateAnswer",
    "GateSettings",
    "frozen_images",
    "frozen_scans",
    "judge",
]


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What the gate says of a challenger.

    Attributes:
        verdict: Production changes by itself on `promote` alone.
        reasons: Sentences; the first one decides.
        warnings: What is odd, such as a frozen set that was looked at too often.
        figures: All that was measured, as plain values.
        report: A page that stands alone.
    """

    verdict: Answer
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    figures: dict[str, Any]
    report: Path


def judge(
    champion: ModelVersion,
    challenger: ModelVersion,
    frozen: FrozenCases,
    *,
    settings: GateSettings,
    out: Path,
) -> GateAnswer:
    """Compare two models on frozen cases, and write `report.html` and `gate.json` into `out`.

    Args:
        champion: In production.
        challenger: That may take its place.
        frozen: Cases that neither was trained on.
        settings: Margins and policies.
        out: A folder; made if it is not there.

    Raises:
        ModelError: If a model was altered, or does not fit the cases.
        InputError: If a case cannot be read.
    """
    from pipelines.gating.images import weigh_images

    if not isinstance(frozen, FrozenImages):
        msg = f"{frozen.name}: only images can be compared so far"
        raise InputError(msg)
    out.mkdir(parents=True, exist_ok=True)
    verdict, figures = weigh_images(champion, challenger, frozen, settings=settings)
    report = out / "report.html"
    report.write_text("\n".join(verdict.reasons), encoding="utf-8")
    return GateAnswer(verdict.answer, verdict.reasons, (), figures, report)
