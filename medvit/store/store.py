"""The store: runs, cases, findings, decisions and readers in SQLite or PostgreSQL."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medvit.errors import AccessError
from medvit.findings.finding import CaseResult
from medvit.store import audit, claims, progress, queries, saving, signals
from medvit.store.audit import AuditRow, ReaderRow
from medvit.store.convert import to_case, to_run
from medvit.store.database import Database
from medvit.store.deciding import append, locked, missing, rows_of_findings
from medvit.store.engine import ConnectionLostError
from medvit.store.progress import Agreement, ReaderProgress
from medvit.store.roles import Actor, Deed, Role
from medvit.store.rows import (
    CaseFilter,
    CaseRow,
    CaseSignal,
    Claim,
    Decision,
    DecisionRow,
    FindingRow,
    Queue,
    RunRow,
    RunState,
    SignalName,
)
from medvit.store.tables import CaseTable, RunTable

TRIES = 20
PAUSE_S = 0.5
"""A server that restarts is waited for: 10 s at most."""


class Store(Database):
    """Runs, cases, findings and decisions; safe for threads and for several processes.

    Every method is one transaction: what it wrote is on the disk when it returns, or nothing
    is. Methods raise StoreError when the database is locked for 30 s, full or gone.
    """

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
                raise missing(str(run_id), what="run")
            run.state = state
            run.counts = dict(counts)
            run.finished_at = None if state == "running" else self._clock()

    def get_run(self, run_id: int) -> RunRow | None:
        """Return a run, or None when there is no such run."""
        with self._read() as session:
            run = session.get(RunTable, run_id)
            return None if run is None else to_run(run)

    def list_runs(self, *, most: int = 25) -> list[RunRow]:
        """Return the runs that were started last, the newest first."""
        with self._read() as session:
            newest = select(RunTable).order_by(RunTable.id.desc()).limit(most)
            return [to_run(run) for run in session.scalars(newest)]

    def save_result(self, run_id: int, result: CaseResult) -> None:
        """Write one case and its findings, all of it or nothing.

        Saving the same result again changes nothing. A later run replaces what an earlier one
        said of the case; findings and decisions of earlier runs stay in the store.

        Raises:
            StoreError: If there is no such run.
        """
        self.save_results(run_id, [result])

    def save_results(self, run_id: int, results: Sequence[CaseResult]) -> None:
        """Write cases and their findings in one transaction: all of it, or nothing.

        Raises:
            StoreError: If there is no such run.
        """
        with self._write() as session:
            saving.save(session, run_id, results, now=self._clock())

    def list_cases(
        self, wanted: CaseFilter | None = None, *, limit: int = 50, offset: int = 0
    ) -> tuple[list[CaseRow], int]:
        """Return one page of the worklist and how many cases there are in all."""
        wanted, now = wanted or CaseFilter(), self._clock()
        with self._read() as session:
            page = queries.page_of_cases(wanted, limit=limit, offset=offset, now=now)
            rows = [to_case(row) for row in session.scalars(page)]
            return rows, session.scalar(queries.count_of_cases(wanted, now=now)) or 0

    def next_case(self, wanted: CaseFilter, after: str = "") -> CaseRow | None:
        """Return the case that follows another in the order of a filter, from the top at the end.

        Args:
            wanted: Which cases count; its `reader` leaves out what others hold.
            after: The case at hand; it is never the answer.
        """
        now = self._clock()
        with self._read() as session:
            place = queries.place_of(session, wanted, after)
            for start in (place, ()) if place else ((),):
                row = session.scalar(queries.next_of_cases(wanted, start, after, now=now))
                if row is not None:
                    return to_case(row)
            return None

    def get_case(self, case_id: str) -> CaseRow | None:
        """Return a case, or None when there is no such case."""
        with self._read() as session:
            case = session.get(CaseTable, case_id)
            return None if case is None else to_case(case)

    def reviewed_of(self, *case_ids: str) -> dict[str, CaseRow]:
        """Return those of some cases that a reader has decided something about, by id."""
        with self._read() as session:
            rows = session.scalars(queries.reviewed_among(case_ids))
            return {row.case_id: to_case(row) for row in rows}

    def list_findings(self, case_id: str) -> list[FindingRow]:
        """Return the findings of the latest run, most probable first, then readers' own.

        Raises:
            StoreError: If there is no such case.
        """
        with self._read() as session:
            case = session.get(CaseTable, case_id)
            if case is None:
                raise missing(case_id, what="case")
            decisions = queries.decisions_of(session, case_id)
            return rows_of_findings(case, queries.latest_findings(session, case), decisions)

    def list_decisions(self, case_id: str) -> list[DecisionRow]:
        """Return everything that readers said of a case, newest last."""
        with self._read() as session:
            return queries.decisions_of(session, case_id)

    def decide(
        self,
        decision: Decision,
        *,
        expected_version: int | None = None,
        actor: Actor | None = None,
    ) -> DecisionRow:
        """Append a decision; it is on the disk when this returns.

        A server that goes away meanwhile is waited for, and the decision is in once.

        Args:
            expected_version: `version` of the finding (or of the case, for decisions about it
                as a whole) as the reader saw it; None decides whatever others did since.
            actor: Who decides, as who came in; None looks the role of the reader up.

        Raises:
            StoreConflictError: If somebody decided about the same thing since.
            AccessError: If the role does not allow it, or the actor is not the reader.
            StoreError: If the case or finding is unknown, or the decision breaks a rule.
        """
        decision = replace(decision, token=decision.token or uuid.uuid4().hex)
        for _ in range(TRIES - 1):
            try:
                return self._decide(decision, expected_version, actor)
            except ConnectionLostError:
                time.sleep(PAUSE_S)
        return self._decide(decision, expected_version, actor)

    def put_signals(
        self, rows: Iterable[CaseSignal], *, replacing: Iterable[SignalName] = ()
    ) -> None:
        """Write reasons to look at cases; they make the queues. All rows, or none.

        A signal of the same case and name is replaced.

        Args:
            rows: At most one counts for each case and name, the last one.
            replacing: Names whose signals of all cases are removed first.

        Raises:
            StoreError: If a case is unknown, or a signal breaks a rule.
        """
        with self._write() as session:
            for name in replacing:
                signals.drop(session, name)
            signals.put(session, list(rows), now=self._clock())

    def signals_of(self, *case_ids: str) -> list[CaseSignal]:
        """Return the reasons to look at cases, strongest first within a case."""
        with self._read() as session:
            return signals.of_cases(session, case_ids)

    def claim(
        self,
        case_id: str,
        reader: str,
        *,
        minutes: float = claims.CLAIM_MINUTES,
        take_over: bool = False,
        let_go: str = "",
    ) -> Claim:
        """Claim a case for a reader, or renew the claim, and return the claim that stands.

        Look at its `reader`: somebody else's claim stands until it runs out, or until it is
        taken over, which is logged.

        Args:
            let_go: Case that the reader leaves for this one; in the same transaction.

        Raises:
            StoreError: If there is no such case.
        """
        now = self._clock()
        with self._write() as session:
            locked(session, case_id)
            if let_go and let_go != case_id:
                claims.release(session, let_go, reader)
            claim = claims.take(
                session, case_id, reader, now=now, minutes=minutes, take_over=take_over
            )
            if take_over and claim.taken_from and claim.claimed_at == now:
                actor, taken = audit.actor_of(session, reader), {"from": claim.taken_from}
                audit.log(session, actor, "take_over", case_id, taken, now=now)
            return claim

    def release(self, case_id: str, reader: str) -> None:
        """Let go of a case; a claim of somebody else stays."""
        with self._write() as session:
            claims.release(session, case_id, reader)

    def claims_of(self, *case_ids: str) -> dict[str, Claim]:
        """Return the claims on cases that have not run out, by case."""
        with self._read() as session:
            return claims.of_cases(session, case_ids, now=self._clock())

    def actor(self, name: str) -> Actor:
        """Return what a reader is; anybody may do everything while the store has no admin."""
        with self._read() as session:
            return audit.actor_of(session, name)

    def sign_in(self, name: str, *, subject: str = "", role: Role | None = None) -> Actor:
        """Let a reader come in, log it, and return who acts from now on.

        Args:
            subject: Account at the sign-in provider, which the name is bound to; empty for a
                local name.
            role: What the provider says; None keeps what the store says.

        Raises:
            AccessError: If the name belongs to another account.
        """
        now = self._clock()
        with self._write() as session:
            if subject:
                actor = audit.bind(session, name, subject, role, now=now)
            else:
                actor = audit.local(session, name)
            way = {"by": "provider" if subject else "local name"}
            audit.log(session, actor, "sign_in", actor.name, way, now=now)
            return actor

    def set_role(self, actor: Actor, name: str, role: str) -> ReaderRow:
        """Give a reader a role.

        Raises:
            AccessError: If the actor is no admin, or it would leave the store without one.
        """
        with self._write() as session:
            return audit.set_role(session, actor, name, role, now=self._clock())

    def list_readers(self) -> list[ReaderRow]:
        """Return the readers whose role or sign-in the store knows."""
        with self._read() as session:
            return audit.list_readers(session)

    def authorise(self, actor: Actor, deed: Deed, subject: str, **details: Any) -> None:
        """Check that an actor may do a deed, and log that it is being done.

        Call it before the deed: an export, a promotion, the start of a job.

        Raises:
            AccessError: If the role does not allow it.
        """
        with self._write() as session:
            audit.log(session, actor, deed, subject, details, now=self._clock())

    def list_audit(self, *, limit: int = 50, offset: int = 0, reader: str = "") -> list[AuditRow]:
        """Return who did what, decisions included, newest first."""
        with self._read() as session:
            return audit.page(session, limit=limit, offset=offset, reader=reader)

    def count_cases(self) -> dict[str, int]:
        """Return how many cases there are: `cases`, by review, and by verdict."""
        with self._read() as session:
            return progress.counts(session)

    def queue_lengths(self) -> dict[Queue, int]:
        """Return how many cases each queue holds."""
        with self._read() as session:
            return progress.queue_lengths(session, now=self._clock())

    def reader_progress(self, *, since: datetime) -> list[ReaderProgress]:
        """Return what each reader did in all and since a moment, the busiest first."""
        with self._read() as session:
            return progress.readers(session, since=since)

    def agreement(self) -> list[Agreement]:
        """Return how each pair of readers agrees, those with most in common first."""
        with self._read() as session:
            return progress.agreement(session)

    def _decide(
        self, decision: Decision, expected_version: int | None, actor: Actor | None
    ) -> DecisionRow:
        with self._write() as session:
            return append(
                session,
                decision,
                actor=_acting(session, decision, actor),
                expected_version=expected_version,
                now=self._clock(),
            )


def _acting(session: Session, decision: Decision, actor: Actor | None) -> Actor:
    reader = decision.reader.strip()
    if actor is None:
        return audit.actor_of(session, reader)
    if actor.name != reader:
        msg = f"{actor.name!r} cannot decide in the name of {reader!r}"
        raise AccessError(msg, hint="sign in as the reader who decides")
    return actor
