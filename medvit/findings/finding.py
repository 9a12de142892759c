"""A finding: one nodule in a scan or one defect in an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

from medvit.io.case import Case, Kind, Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of `findings.csv`; the fields are its columns, in order.

    CT findings carry a centre in LPS mm, a diameter and a voxel index of the
    source volume; image findings carry a box in pixels, 0-based and half-open.
    What does not apply is None. `index_z` counts slices from 0 in the order of
    position along the normal.
    """

    case_id: str
    kind: Kind
    source: str
    series_uid: str
    finding_id: str
    label: str
    probability: float
    x_mm: float | None = None
    y_mm: float | None = None
    z_mm: float | None = None
    diameter_mm: float | None = None
    index_z: int | None = None
    index_y: int | None = None
    index_x: int | None = None
    x_min: int | None = None
    y_min: int | None = None
    x_max: int | None = None
    y_max: int | None = None
    ood: float | None = None
    model: str = ""


FINDING_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Finding))


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One row of `cases.csv` with the findings behind it.

    Attributes:
        reason: Reason codes joined by `;`, `ok` for a sound case.
        message: The sentences behind the codes; shown in the report.
        label: Judgement of an image as a whole; empty for CT.
        probability: Probability of `label`; None for CT.
        ood: How far an image is beyond what the model was trained on, above 0 it is unlike;
            None for CT and for a model that does not tell.
    """

    case: Case
    verdict: Verdict
    reason: str
    message: str
    label: str
    probability: float | None
    findings: tuple[Finding, ...]
    seconds: float
    peak_rss_mb: float
    ood: float | None = None

    @property
    def unlike(self) -> str:
        """In a sentence that the model was trained on nothing like it; empty where it was."""
        if self.ood is None or self.ood <= 0:
            return ""
        return (
            "Unlike the images the model was trained on: beyond the limit that 95 % of known "
            "images keep. Look at it before you trust its label."
        )


def finding_id(case_id: str, model: str, *place: float | int | str) -> str:
    """Return a stable id: the same case, model and place give the same id.

    Examples:
        >>> finding_id("ct-1", "m@1", 1.5) == finding_id("ct-1", "m@1", 1.5)
        True
    """
    text = "\0".join([case_id, model, *(str(part) for part in place)])
    return "f-" + hashlib.sha256(text.encode()).hexdigest()[:12]
