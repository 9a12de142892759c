"""Results of a scan that never happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medvit.findings.finding import CaseResult, Finding, finding_id
from medvit.io.case import Case

ROOT = Path("/data")


def ct_case(name: str = "a") -> Case:
    """Return a CT series called `name`."""
    folder = ROOT / name
    return Case(f"ct-{name}", "ct", name, ROOT, (folder / "1.dcm", folder / "2.dcm"), f"1.2.{name}")


def image_case(name: str = "a.png") -> Case:
    """Return an image file called `name`."""
    return Case(f"im-{name}", "image", name, ROOT, (ROOT / name,))


def nodule(case: Case, *, nr: int = 1, probability: float = 0.5, model: str = "m@1") -> Finding:
    """Return the nodule `nr` of a CT case; the number makes its place."""
    return Finding(
        case_id=case.case_id,
        kind="ct",
        source=case.source,
        series_uid=case.series_uid,
        finding_id=finding_id(case.case_id, model, nr),
        label="nodule",
        probability=probability,
        x_mm=float(nr),
        y_mm=-2.5,
        z_mm=3.125,
        diameter_mm=6.0,
        index_z=nr,
        index_y=20,
        index_x=30,
        model=model,
    )


def defect(case: Case, *, label: str = "scratch", probability: float = 0.9) -> Finding:
    """Return a defect of an image case."""
    return Finding(
        case_id=case.case_id,
        kind="image",
        source=case.source,
        series_uid="",
        finding_id=finding_id(case.case_id, "d@1", label),
        label=label,
        probability=probability,
        x_min=1,
        y_min=2,
        x_max=11,
        y_max=22,
        model="d@1",
    )


def ct_result(name: str = "a", *probabilities: float, model: str = "m@1") -> CaseResult:
    """Return an accepted CT case with one nodule for each probability."""
    case = ct_case(name)
    findings = tuple(
        nodule(case, nr=nr, probability=probability, model=model)
        for nr, probability in enumerate(probabilities, start=1)
    )
    return CaseResult(case, "accept", "ok", "", "", None, findings, 1.5, 700.0)


def image_result(name: str = "a.png", *, label: str = "scratch", box: bool = False) -> CaseResult:
    """Return an accepted image with a label, and with one defect when `box`."""
    case = image_case(name)
    findings = (defect(case, label=label),) if box else ()
    return CaseResult(case, "accept", "ok", "", label, 0.9, findings, 0.25, 300.0)


def refused(result: CaseResult, *, reason: str = "truncated", message: str = "") -> CaseResult:
    """Return a case as triage refuses it."""
    return replace(
        result,
        verdict="refuse",
        reason=reason,
        message=message or f"{result.case.source}: refused",
        label="",
        probability=None,
        findings=(),
    )
