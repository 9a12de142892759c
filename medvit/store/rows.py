"""The values that go into the store and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from medvit.findings.finding import Finding
from medvit.io.case import Kind, Verdict

Action = Literal["accept", "reject", "unsure", "relabel", "add", "adjust", "skip", "undo"]
State = Literal["new", "accept", "reject", "unsure", "relabel", "add", "adjust"]
Review = Literal["new", "reviewed", "none"]
RunState = Literal["running", "done", "failed", "interrupted"]
Sort = Literal["source", "probability", "findings", "scanned"]
SignalName = Literal["uncertainty", "suspect_label", "ood", "drift", "priority", "disagreement"]
Queue = Literal[
    "new", "uncertain", "suspect_label", "ood", "disagreement", "oldest", "drift", "priority"
]
"""`new` and `oldest` are orders of what waits; each other queue follows one signal."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reader says about one finding, or about a case as a whole.

    Attributes:
        finding_id: None for the case as a whole, and for `add`, which makes a finding.
        action: `undo` takes back the newest decision that stands about the same thing; `skip`
            says nothing of it: the reader passes on, and the case waits for somebody else.
        label: Required by `relabel` and `add`.
        geometry: Required by `add` and `adjust`. CT: `x_mm, y_mm, z_mm, diameter_mm` in LPS
            and, when known, `index_z, index_y, index_x`. Images: `x_min, y_min, x_max, y_max`
            in pixels, 0-based and half-open.
        reader: Who decides; 1 to 100 characters.
        reason_code: Why, in one word such as `vessel`; lower-case letters, digits, `_`.
        seconds: Time the reader spent on it; None when it was not measured.
        token: Name of this very press of a button; the same token is never saved twice, so
            that a press whose answer was lost can be sent again.
    """

    case_id: str
    finding_id: str | None
    action: Action
    reader: str
    label: str = ""
    note: str = ""
    geometry: Mapping[str, float] | None = None
    reason_code: str = ""
    seconds: float | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A decision as the store keeps it: numbered, dated and never changed.

    Attributes:
        finding_id: For `add`, the id that the store gave to the reader's finding.
        decided_at: In UTC.
        undoes_id: The decision that an `undo` takes back; None for every other action.
        role: What the reader was when deciding: `reader`, `lead` or `admin`.
        settles: Whether it overruled another reader; plain readers cannot decide after it.
    """

    id: int
    case_id: str
    finding_id: str | None
    action: Action
    reader: str
    label: str
    note: str
    geometry: Mapping[str, float] | None
    decided_at: datetime
    undoes_id: int | None = None
    reason_code: str = ""
    seconds: float | None = None
    role: str = "reader"
    settles: bool = False


@dataclass(frozen=True, slots=True)
class CaseSignal:
    """A reason to look at a case.

    Attributes:
        value: How strong it is; finite, the largest come first in their queue.
        reason: A sentence for readers.
        made_at: In UTC; the store writes the moment when it is None.
    """

    case_id: str
    name: SignalName
    value: float
    reason: str
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who has a case on the desk.

    Attributes:
        expires_at: In UTC; from then on anybody may take the case.
        taken_from: Who had it before and was asked to give way; empty when nobody had it.
    """

    case_id: str
    reader: str
    claimed_at: datetime
    expires_at: datetime
    taken_from: str = ""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding and where its review stands.

    Attributes:
        finding: As the model gave it; for a reader's own finding, as the reader added it.
        state: Action of the newest decision that stands; `new` without one.
        label_now: The model's label, or the one a reader put in its place.
        geometry_now: Where a reader moved it by `adjust`; None when nobody did.
        version: Number of the last decision about it, undone ones included; 0 without one.
            Pass it as `expected_version` to be told when somebody else was faster.
    """

    finding: Finding
    state: State
    label_now: str
    decided_by: str = ""
    decided_at: datetime | None = None
    note: str = ""
    geometry_now: Mapping[str, float] | None = None
    version: int = 0

    @property
    def current(self) -> Finding:
        """The finding with the label and the place that stand now."""
        return replace(self.finding, label=self.label_now, **_place(self.geometry_now))


def _place(geometry: Mapping[str, float] | None) -> dict[str, Any]:
    return dict(geometry or {})


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case as its latest run left it, and where its review stands.

    Attributes:
        root: The folder that was scanned, absolute.
        files: The files that hold the case, absolute.
        reason: Reason codes joined by `;`.
        label: The model's judgement of an image as a whole; empty for CT.
        n_findings: Findings of the latest run and those that readers added.
        n_reviewed: How many of them have a decision that stands.
        scanned_at: In UTC.
        review: `new` when there is something left to decide, `reviewed` when everything is
            decided, `none` when there is nothing to decide.
        state: Newest decision that stands about the case as a whole; `new` without one.
        label_now: `label`, or what a reader put in its place.
        version: As in `FindingRow`, for decisions about the case as a whole.
        touched_at: When somebody last decided about anything in it; None when nobody did.
    """

    case_id: str
    kind: Kind
    source: str
    root: Path
    files: tuple[Path, ...]
    series_uid: str
    verdict: Verdict
    reason: str
    message: str
    label: str
    probability: float | None
    n_findings: int
    n_reviewed: int
    run_id: int
    scanned_at: datetime
    review: Review
    state: State
    label_now: str
    decided_by: str
    decided_at: datetime | None
    version: int
    touched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases to list, and in which order; the empty string stands for all.

    Attributes:
        text: Part of the source, case id, series UID or label, in any letter case.
        sort: `source`; `probability` or `findings`, largest first; `scanned`, newest first.
        queue: Only what a queue holds, in the order of the queue in place of `sort`.
        reader: Leaves out what other readers have on their desks, and what this one skipped
            within half a day.
        names: Whether `text` is also looked for in the source of a CT, which may hold the
            name of a patient.
    """

    text: str = ""
    kind: Kind | Literal[""] = ""
    verdict: Verdict | Literal[""] = ""
    state: Literal["", "new", "reviewed"] = ""
    sort: Sort = "source"
    queue: Queue | Literal[""] = ""
    reader: str = ""
    names: bool = True


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of a command.

    Attributes:
        settings: The resolved settings of the run.
        started_at: In UTC, like `finished_at`, which is None while the run goes on.
    """

    id: int
    command: str
    settings: Mapping[str, Any]
    model: str
    model_sha256: str
    state: RunState
    started_at: datetime
    finished_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
