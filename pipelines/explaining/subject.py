"""What is to be explained: an image file, a case of the store, or one finding of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medvit.errors import InputError
from medvit.findings.finding import Finding
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.store.explained import case_of_finding
from medvit.store.rows import CaseRow
from medvit.store.store import Store
from medvit.workspace import Workspace

SCAN_FIRST = "scan it with medvit scan; the ids are in cases.csv and findings.csv"


@dataclass(frozen=True, slots=True)
class Subject:
    """A case, and the finding in it that is meant; None for an image that was never scanned."""

    case: Case
    finding: Finding | None


def find_subject(name: str, workspace: Workspace) -> Subject:
    """Return what a path, a case id or a finding id stands for.

    A case id means its most probable finding.

    Raises:
        InputError: If nothing goes by this name, a path holds no image or several, or a scan
            holds no finding.
        StoreError: If the store cannot be read.
    """
    path = Path(name)
    if path.exists():
        return Subject(_only_image(path), None)
    if not workspace.store and not (workspace.folder / "store.db").is_file():
        msg = f"{name}: no such file, and the workspace {workspace.folder} holds no case"
        raise InputError(msg, hint=f"check the path, or {SCAN_FIRST}")
    with Store.open(workspace.store_url) as store:
        row = store.get_case(name)
        wanted = "" if row else name
        if row is None and (case_id := case_of_finding(workspace.store_url, name)):
            row = store.get_case(case_id)
        if row is None:
            msg = f"{name}: no such file, and no case or finding of the store has this id"
            raise InputError(msg, hint=f"check the path, or {SCAN_FIRST}")
        findings = [each.current for each in store.list_findings(row.case_id)]
    return Subject(_case_of(row), _chosen(findings, wanted, row))


def _only_image(path: Path) -> Case:
    cases = discover(path).cases
    images = [case for case in cases if case.kind == "image"]
    if len(images) == 1 == len(cases):
        return images[0]
    if cases and not images:
        msg = f"{path.name}: a CT is explained finding by finding, and a path names none"
        raise InputError(msg, hint=SCAN_FIRST)
    msg = f"{path.name}: one image is explained at a time, got {len(images)} of {len(cases)} cases"
    raise InputError(msg, hint="name one image file")


def _chosen(findings: list[Finding], wanted: str, row: CaseRow) -> Finding | None:
    if wanted:
        found = next((each for each in findings if each.finding_id == wanted), None)
        if found is None:
            msg = f"finding {wanted} is not among the {len(findings)} of the latest run of its case"
            raise InputError(msg, hint=f"medvit explain {row.case_id} takes the most probable one")
        return found
    best = max(findings, key=lambda each: each.probability, default=None)
    if best is None and row.kind == "ct":
        msg = f"case {row.case_id} is a CT without findings, and only findings are explained"
        raise InputError(msg, hint="scan it with --effort full, or add a finding in the app")
    return best


def _case_of(row: CaseRow) -> Case:
    missing = next((file for file in row.files if not file.exists()), None)
    if missing is not None:
        msg = f"case {row.case_id}: its files are gone from {row.root}"
        raise InputError(msg, hint="put them back, or scan them where they are now")
    return Case(row.case_id, row.kind, row.source, row.root, row.files, row.series_uid)
