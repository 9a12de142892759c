"""Cases that readers decided about, with every finding that they decided about, old ones too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from medvit.findings.finding import Finding
from medvit.io.case import Kind
from medvit.store.convert import to_case, to_finding
from medvit.store.queries import decisions_of, latest_findings
from medvit.store.rows import CaseRow, DecisionRow
from medvit.store.store import Store
from medvit.store.tables import CaseTable, DecisionTable, FindingTable, RunTable

CASES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class DecidedCase:
    """A case and all that was said of it.

    Attributes:
        model: `name@version` of the latest run.
        findings: Of the latest run, and those of earlier runs that somebody decided about.
        decisions: Oldest first.
    """

    case: CaseRow
    model: str
    findings: tuple[Finding, ...]
    decisions: tuple[DecisionRow, ...]


def decided_cases(store: Store, kind: Kind) -> Iterator[DecidedCase]:
    """Yield the cases of a kind that have a decision, in the order of their ids."""
    last = ""
    while True:
        with store._read() as session:
            page = _page(session, kind, after=last)
        yield from page
        if len(page) < CASES_AT_ONCE:
            return
        last = page[-1].case.case_id


def _page(session: Session, kind: Kind, *, after: str) -> list[DecidedCase]:
    decided = select(DecisionTable.case_id).distinct()
    query = (
        select(CaseTable, RunTable.model)
        .join(RunTable, RunTable.id == CaseTable.run_id)
        .where(CaseTable.kind == kind, CaseTable.case_id > after, CaseTable.case_id.in_(decided))
        .order_by(CaseTable.case_id)
        .limit(CASES_AT_ONCE)
    )
    return [_decided(session, case, model) for case, model in session.execute(query)]


def _decided(session: Session, case: CaseTable, model: str) -> DecidedCase:
    decisions = decisions_of(session, case.case_id)
    findings = {each.finding_id: each for each in latest_findings(session, case)}
    missing = {row.finding_id for row in decisions if row.finding_id} - findings.keys()
    if missing:
        older = select(FindingTable).where(FindingTable.finding_id.in_(missing))
        findings |= {row.finding_id: to_finding(row, case) for row in session.scalars(older)}
    return DecidedCase(to_case(case), model, tuple(findings.values()), tuple(decisions))
