"""How a decision enters the store: who may make it, what it is about, what follows from it."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from medvit.errors import AccessError, StoreConflictError, StoreError
from medvit.findings.finding import Finding
from medvit.io.case import Kind
from medvit.store import queries, signals
from medvit.store.convert import to_decision
from medvit.store.decisions import added_id, added_ids, checked, undone_by
from medvit.store.opinions import disagreements, opinions, settled_by
from medvit.store.review import by_subject, finding_rows, fold, review_of, standing_decisions
from medvit.store.roles import Actor
from medvit.store.rows import CaseSignal, Decision, DecisionRow, FindingRow
from medvit.store.tables import CaseTable, DecisionTable, FindingTable


def missing(name: str, *, what: str) -> StoreError:
    """Return the error for a run, case or finding that is not there."""
    msg = f"there is no {what} {name!r} in the store"
    return StoreError(msg, hint="scan the folder first, or open the store it was scanned into")


def locked(session: Session, case_id: str) -> CaseTable:
    """Return a case that no other transaction can change until this one ends.

    Raises:
        StoreError: If there is no such case.
    """
    query = select(CaseTable).where(CaseTable.case_id == case_id).with_for_update()
    case = session.scalar(query)
    if case is None:
        raise missing(case_id, what="case")
    return case


def append(
    session: Session,
    decision: Decision,
    *,
    actor: Actor,
    expected_version: int | None,
    now: datetime,
) -> DecisionRow:
    """Append a decision and bring its case up to date; a token already saved adds nothing.

    Raises:
        StoreConflictError: If somebody decided about the same thing since.
        AccessError: If the role does not allow it.
        StoreError: If the case or finding is unknown, or the decision breaks a rule.
    """
    case = locked(session, decision.case_id)
    decision = checked(decision, kind=cast(Kind, case.kind))
    if before := _saved_before(session, decision):
        return before
    decisions = queries.decisions_of(session, case.case_id)
    _check_subject(session, decision, decisions)
    row = _row_of(decision, decisions, expected_version, actor=actor)
    row.decided_at = now
    session.add(row)
    session.flush()
    case.touched_at = now
    made = to_decision(row)
    findings = queries.latest_findings(session, case)
    refresh(session, case, [*decisions, made], now=now, findings=findings)
    return made


def refresh(
    session: Session,
    case: CaseTable,
    decisions: list[DecisionRow],
    *,
    now: datetime,
    findings: list[Finding],
) -> None:
    """Write the columns and the signal of a case that follow from findings and decisions.

    Args:
        decisions: All of the case, oldest first.
        findings: What its latest run saw.
    """
    rows = rows_of_findings(case, findings, decisions)
    whole = fold(by_subject(decisions).get(None, []))
    case.n_findings = len(rows)
    case.n_reviewed = sum(row.state != "new" for row in rows)
    whole_probability = -1.0 if case.probability is None else case.probability
    case.top_probability = max((row.finding.probability for row in rows), default=whole_probability)
    case.review = review_of(cast(Kind, case.kind), case.label, rows, whole)
    case.state = whole.state
    case.label_now = whole.label or case.label
    case.decided_by = whole.decided_by
    case.decided_at = whole.decided_at
    case.version = whole.version
    if decisions:
        _refresh_disagreement(session, case.case_id, decisions, now=now)


def rows_of_findings(
    case: CaseTable, findings: list[Finding], decisions: list[DecisionRow]
) -> list[FindingRow]:
    """Return the findings of a case with where their review stands."""
    of_the_case = {
        "case_id": case.case_id,
        "kind": case.kind,
        "source": case.source,
        "series_uid": case.series_uid,
    }
    return finding_rows(findings, decisions, case=of_the_case)


def _saved_before(session: Session, decision: Decision) -> DecisionRow | None:
    if not decision.token:
        return None
    row = session.scalar(select(DecisionTable).where(DecisionTable.token == decision.token))
    if row is None:
        return None
    same = (row.case_id, row.action, row.reader)
    if same != (decision.case_id, decision.action, decision.reader):
        msg = f"token {decision.token!r} names decision {row.id} already, about {row.case_id}"
        raise StoreError(msg, hint="give each press of a button a token of its own")
    return to_decision(row)


def _check_subject(session: Session, decision: Decision, decisions: list[DecisionRow]) -> None:
    name = decision.finding_id
    if name is None or name in added_ids(decisions):
        return
    finding = session.get(FindingTable, name)
    if finding is None or finding.case_id != decision.case_id:
        raise missing(name, what="finding")


def _row_of(
    decision: Decision,
    decisions: list[DecisionRow],
    expected_version: int | None,
    *,
    actor: Actor,
) -> DecisionTable:
    name = decision.finding_id
    if decision.action == "add":
        name = added_id(decision.case_id, decisions)
    about = by_subject(decisions).get(name, [])
    _check_version(decision, about, expected_version)
    _check_role(decision, about, actor)
    geometry = None if decision.geometry is None else dict(decision.geometry)
    return DecisionTable(
        case_id=decision.case_id,
        finding_id=name,
        action=decision.action,
        label=decision.label,
        note=decision.note,
        geometry=geometry,
        reader=decision.reader,
        undoes_id=undone_by(decision, about) if decision.action == "undo" else None,
        reason_code=decision.reason_code,
        seconds=decision.seconds,
        role=actor.role if actor.assigned else "reader",
        settles=_settles(decision, about, actor),
        token=decision.token or None,
    )


def _check_version(
    decision: Decision, about: list[DecisionRow], expected_version: int | None
) -> None:
    version = fold(about).version
    if expected_version is None or version == expected_version or decision.action == "skip":
        return
    last = next((row for row in reversed(about) if row.action != "skip"), None)
    by = f" by {last.reader!r} ({last.action})" if last else ""
    msg = f"{decision.case_id}: decision {version}{by} came after {expected_version}"
    raise StoreConflictError(msg, hint="look at what stands now, then decide again")


def _check_role(decision: Decision, about: list[DecisionRow], actor: Actor) -> None:
    """Check that a plain reader neither changes what a lead settled nor undoes another's."""
    actor.require("decide")
    if actor.may("overrule") or decision.action == "skip":
        return
    settled = settled_by(about)
    if settled is not None:
        msg = f"{decision.case_id}: {settled.reader!r} settled this ({settled.action})"
        raise AccessError(msg, hint="ask a lead to look at it again")
    standing = standing_decisions(about)
    if decision.action == "undo" and standing and standing[-1].reader != decision.reader:
        msg = f"{decision.case_id}: {standing[-1].reader!r} decided last, not {decision.reader!r}"
        raise AccessError(msg, hint="decide differently, or ask a lead to overrule")


def _settles(decision: Decision, about: list[DecisionRow], actor: Actor) -> bool:
    if not actor.overrules or decision.action in ("undo", "skip", "unsure", "add"):
        return False
    said = opinions(about)
    mine = f"relabel to {decision.label}" if decision.action == "relabel" else decision.action
    mine = "accept" if mine == "adjust" else mine
    return any(opinion != mine for reader, opinion in said.items() if reader != decision.reader)


def _refresh_disagreement(
    session: Session, case_id: str, decisions: list[DecisionRow], *, now: datetime
) -> None:
    sentences = disagreements(decisions)
    if sentences:
        reason = f"Readers disagree about {'; '.join(sentences)}."
        signal = CaseSignal(case_id, "disagreement", float(len(sentences)), reason, now)
        signals.put(session, [signal], now=now)
    else:
        signals.drop(session, "disagreement", case_id)
