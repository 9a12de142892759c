"""What readers hold of findings and cases, once each reader's decisions are added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from medvit.io.case import Kind

Says = Literal["is", "not", "unsure"]
Geometry = Mapping[str, float]
"""Of a box `x_min, y_min, x_max, y_max` in pixels; of a nodule `x_mm, y_mm, z_mm, diameter_mm`."""

WHOLE = ""
"""The subject of an opinion about a case as a whole."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one reader holds of one thing.

    Attributes:
        subject: A finding's id, or `WHOLE`.
        says: `is` what `label` says, `not` what was proposed, or `unsure`.
        geometry: Where the reader put it; None where they left it.
        decided_at: Of the reader's last decision about it, in UTC.
        decision: Number of that decision in the store.
    """

    subject: str
    reader: str
    says: Says
    label: str
    geometry: Geometry | None
    decided_at: datetime
    decision: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that a model, or a reader who added it, put forward.

    Attributes:
        finding_id: Its id, or `WHOLE` for the label of an image.
        model: `name@version`; empty where a reader added it.
    """

    finding_id: str
    label: str
    geometry: Geometry | None
    model: str


@dataclass(frozen=True, slots=True)
class ReviewedCase:
    """A case that somebody decided about.

    Attributes:
        whole: What the model called an image as a whole; None for CT.
        proposals: Findings of the model, then those that readers added.
        opinions: Of all readers, on the whole and on findings.
    """

    case_id: str
    kind: Kind
    whole: Proposal | None
    proposals: tuple[Proposal, ...]
    opinions: tuple[Opinion, ...]

    def about(self, subject: str) -> list[Opinion]:
        """Return the opinions about one subject, in the order they were formed."""
        own = [opinion for opinion in self.opinions if opinion.subject == subject]
        return sorted(own, key=lambda opinion: opinion.decision)
