"""The store: runs, cases, findings and decisions in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, cast

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from medvit.errors import StoreConflictError, StoreError
from medvit.findings.finding import CaseResult, Finding
from medvit.io.case import Kind
from medvit.store import queries
from medvit.store.convert import case_values, to_case, to_decision, to_run
from medvit.store.decisions import added_id, added_ids, checked, undone_by
from medvit.store.engine import build_engine, database_errors, use_wal, writing
from medvit.store.migrate import migrate
from medvit.store.review import by_subject, finding_rows, fold, review_of
from medvit.store.rows import (
    CaseFilter,
    CaseRow,
    Decision,
    DecisionRow,
    FindingRow,
    RunRow,
    RunState,
)
from medvit.store.tables import CaseTable, DecisionTable, FindingTable, RunTable

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class Store:
    """Runs, cases, findings and decisions; safe for threads and for several processes.

    Every method is one transaction: what it wrote is on the disk when it returns, or nothing
    is. Methods raise StoreError when the database is locked for 30 s, full or gone.
    """

    def __init__(self, engine: Engine, *, clock: Clock = utc_now) -> None:
        self._reading = engine
        self._writing = writing(engine)
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, clock: Clock = utc_now) -> Self:
        """Open a database and bring it to the newest schema; a new one is made.

        Args:
            url: `sqlite:///path/store.db` or `postgresql://user:password@host:port/name`.
            clock: Gives the moment that is written beside runs, cases and decisions.

        Raises:
            StoreError: If the database cannot be opened, was written by a newer medvit, or
                needs a driver that is not installed.
        """
        engine = build_engine(url)
        with database_errors(engine):
            use_wal(engine)
            migrate(engine)
        return cls(engine, clock=clock)

    def close(self) -> None:
        """Close all connections."""
        self._reading.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start_run(
        self, command: str, settings: Mapping[str, Any], *, model: str, model_sha256: str
    ) -> int:
        """Record that a command starts, and return the number of its run."""
        run = RunTable(
            command=command,
            settings=dict(settings),
            model=model,
            model_sha256=model_sha256,
            state="running",
            counts={},
            started_at=self._clock(),
        )
        with self._write() as session:
            session.add(run)
            session.flush()
            return run.id

    def finish_run(self, run_id: int, state: RunState, counts: Mapping[str, int]) -> None:
        """Record how a run ended.

        Raises:
            StoreError: If there is no such run.
        """
        with self._write() as session:
            run = session.get(RunTable, run_id)
            if run is None:
                raise _missing(str(run_id), what="run")
            run.state = state
            run.counts = dict(counts)
            run.finished_at = None if state == "running" else self._clock()

    def get_run(self, run_id: int) -> RunRow | None:
        """Return a run, or None when there is no such run."""
        with self._read() as session:
            run = session.get(RunTable, run_id)
            return None if run is None else to_run(run)

    def save_result(self, run_id: int, result: CaseResult) -> None:
        """Write one case and its findings, all of it or nothing.

        Saving the same result again changes nothing. A later run replaces what an earlier one
        said of the case; findings and decisions of earlier runs stay in the store.

        Raises:
            StoreError: If there is no such run.
        """
        case_id = result.case.case_id
        values = case_values(result, run_id=run_id, scanned_at=self._clock())
        with self._write() as session:
            if session.get(RunTable, run_id) is None:
                raise _missing(str(run_id), what="run")
            queries.put_case(session, values)
            queries.put_findings(session, case_id, run_id, result.findings)
            _refresh(session, _locked(session, case_id))

    def list_cases(
        self, wanted: CaseFilter | None = None, *, limit: int = 50, offset: int = 0
    ) -> tuple[list[CaseRow], int]:
        """Return one page of the worklist and how many cases there are in all."""
        wanted = wanted or CaseFilter()
        with self._read() as session:
            page = queries.page_of_cases(wanted, limit=limit, offset=offset)
            rows = [to_case(row) for row in session.scalars(page)]
            return rows, session.scalar(queries.count_of_cases(wanted)) or 0

    def get_case(self, case_id: str) -> CaseRow | None:
        """Return a case, or None when there is no such case."""
        with self._read() as session:
            case = session.get(CaseTable, case_id)
            return None if case is None else to_case(case)

    def list_findings(self, case_id: str) -> list[FindingRow]:
        """Return the findings of the latest run, most probable first, then readers' own.

        Raises:
            StoreError: If there is no such case.
        """
        with self._read() as session:
            case = session.get(CaseTable, case_id)
            if case is None:
                raise _missing(case_id, what="case")
            decisions = queries.decisions_of(session, case_id)
            return _finding_rows(case, queries.latest_findings(session, case), decisions)

    def list_decisions(self, case_id: str) -> list[DecisionRow]:
        """Return everything that readers said of a case, newest last."""
        with self._read() as session:
            return queries.decisions_of(session, case_id)

    def decide(self, decision: Decision, *, expected_version: int | None = None) -> DecisionRow:
        """Append a decision; it is on the disk when this returns.

        Args:
            expected_version: `version` of the finding (or of the case, for decisions about it
                as a whole) as the reader saw it; None decides whatever others did since.

        Raises:
            StoreConflictError: If somebody decided about the same thing since.
            StoreError: If the case or finding is unknown, or the decision breaks a rule.
        """
        with self._write() as session:
            case = _locked(session, decision.case_id)
            decision = checked(decision, kind=cast(Kind, case.kind))
            decisions = queries.decisions_of(session, case.case_id)
            _check_subject(session, decision, decisions)
            row = _row_of(decision, decisions, expected_version)
            row.decided_at = self._clock()
            session.add(row)
            session.flush()
            _refresh(session, case)
            return to_decision(row)

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with database_errors(self._reading), Session(self._reading) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with (
            database_errors(self._writing),
            Session(self._writing) as session,
            session.begin(),
        ):
            yield session


def _missing(name: str, *, what: str) -> StoreError:
    msg = f"there is no {what} {name!r} in the store"
    return StoreError(msg, hint="scan the folder first, or open the store it was scanned into")


def _locked(session: Session, case_id: str) -> CaseTable:
    """Return a case that no other transaction can change until this one ends."""
    query = select(CaseTable).where(CaseTable.case_id == case_id).with_for_update()
    case = session.scalar(query)
    if case is None:
        raise _missing(case_id, what="case")
    return case


def _check_subject(session: Session, decision: Decision, decisions: list[DecisionRow]) -> None:
    name = decision.finding_id
    if name is None or name in added_ids(decisions):
        return
    finding = session.get(FindingTable, name)
    if finding is None or finding.case_id != decision.case_id:
        raise _missing(name, what="finding")


def _row_of(
    decision: Decision, decisions: list[DecisionRow], expected_version: int | None
) -> DecisionTable:
    name = decision.finding_id
    if decision.action == "add":
        name = added_id(decision.case_id, decisions)
    about = by_subject(decisions).get(name, [])
    version = fold(about).version
    if expected_version is not None and version != expected_version:
        last = about[-1] if about else None
        by = f" by {last.reader!r} ({last.action})" if last else ""
        msg = f"{decision.case_id}: decision {version}{by} came after {expected_version}"
        raise StoreConflictError(msg, hint="look at what stands now, then decide again")
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
    )


def _refresh(session: Session, case: CaseTable) -> None:
    """Write the columns of a case that follow from its findings and decisions."""
    decisions = queries.decisions_of(session, case.case_id)
    rows = _finding_rows(case, queries.latest_findings(session, case), decisions)
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


def _finding_rows(
    case: CaseTable, findings: list[Finding], decisions: list[DecisionRow]
) -> list[FindingRow]:
    of_the_case = {
        "case_id": case.case_id,
        "kind": case.kind,
        "source": case.source,
        "series_uid": case.series_uid,
    }
    return finding_rows(findings, decisions, case=of_the_case)
