"""A workspace with scanned CT: a DICOM series and volumes of other kinds, each with findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.store.rows import Action, Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.make.dicom import write_series
from tests.make.dicom_out import ALGORITHM, CUBE, Point, nodule_at, point_in

PLACES: dict[str, Point] = {
    name: point_in(CUBE, index)
    for name, index in {"a": (3, 8, 7), "b": (6, 15, 12), "c": (9, 22, 18), "d": (2, 20, 5)}.items()
}
"""Where the model found something in every scan."""

DIAMETER_MM = 6.0


@dataclass(frozen=True, slots=True)
class Ward:
    """Scans and their cases by name.

    Attributes:
        scans: The folder that was scanned.
    """

    workspace: Workspace
    scans: Path
    cases: Mapping[str, Case]

    def decide(
        self,
        case: str,
        finding: str,
        action: Action,
        *,
        reader: str = "ann",
        label: str = "",
        sphere: tuple[Point, float] | None = None,
    ) -> None:
        """Let a reader decide about one of the model's findings, or add a nodule of their own.

        Args:
            finding: A key of `PLACES`; empty for `add`.
            sphere: Centre, LPS mm, and diameter in mm, for `add` and `adjust`.
        """
        geometry = None
        if sphere is not None:
            (x_mm, y_mm, z_mm), diameter_mm = sphere
            geometry = {"x_mm": x_mm, "y_mm": y_mm, "z_mm": z_mm, "diameter_mm": diameter_mm}
        found = finding_of(self.cases[case], finding) if finding else None
        case_id = self.cases[case].case_id
        with Store.open(self.workspace.store_url) as store:
            store.decide(Decision(case_id, found, action, reader, label, geometry=geometry))


def finding_of(case: Case, name: str) -> str:
    """Return the id of one of the model's findings."""
    return f"f-{case.case_id}-{name}"


def build_ward(folder: Path) -> Ward:
    """Write a DICOM series, `ct`, and enter it into a workspace of its own."""
    write_series(folder / "scans" / "ct", CUBE)
    return enter_ward(folder / "scans", Workspace(folder / "workspace"))


def enter_ward(scans: Path, workspace: Workspace) -> Ward:
    """Enter every scan of a folder with the same four findings; its name is its path."""
    workspace.prepare()
    cases = {case.source: case for case in discover(scans).cases}
    with Store.open(workspace.store_url) as store:
        run = store.start_run("scan", {}, model=ALGORITHM.reference, model_sha256="0" * 64)
        for case in cases.values():
            findings = tuple(
                nodule_at(case, place, diameter_mm=DIAMETER_MM, name=f"{case.case_id}-{name}")
                for name, place in PLACES.items()
            )
            result = CaseResult(case, "accept", "ok", "", "", None, findings, 1.0, 100.0)
            store.save_result(run, result)
    return Ward(workspace, scans, cases)
