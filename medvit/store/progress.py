"""How far the reading has come: cases, queues, readers, and how well readers agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medvit.metrics.agreement import cohen_kappa
from medvit.store import queries
from medvit.store.convert import to_decision
from medvit.store.opinions import own_opinions
from medvit.store.review import by_subject
from medvit.store.rows import CaseFilter, DecisionRow, Queue
from medvit.store.tables import CaseTable, DecisionTable

SHARED_CASES_MAX = 1000
"""Cases with several readers that agreement is worked out from: the newest."""


@dataclass(frozen=True, slots=True)
class ReaderProgress:
    """What one reader did; skips and undos are no decisions.

    Attributes:
        decided: Decisions in all.
        since: Decisions since the moment that was asked for.
        seconds: Mean time for one, where it was measured; None when it never was.
    """

    reader: str
    decided: int
    since: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two readers agree about what both decided.

    Attributes:
        shared: Findings and whole cases about which both hold an opinion.
        equal: How many of them they see alike.
        kappa: Cohen's; None where it has no value.
    """

    readers: tuple[str, str]
    shared: int
    equal: int
    kappa: float | None


def counts(session: Session) -> dict[str, int]:
    """Return how many cases there are: `cases`, by review, and by verdict."""
    by_review, by_verdict = (
        dict(session.execute(select(column, func.count()).group_by(column)).all())
        for column in (CaseTable.review, CaseTable.verdict)
    )
    return {"cases": sum(by_review.values()), **by_review, **by_verdict}


def queue_lengths(session: Session, *, now: datetime) -> dict[Queue, int]:
    """Return how many cases each queue holds."""
    lengths: dict[Queue, int] = {}
    for queue in get_args(Queue):
        wanted = queries.count_of_cases(CaseFilter(queue=queue), now=now)
        lengths[queue] = session.scalar(wanted) or 0
    return lengths


def readers(session: Session, *, since: datetime) -> list[ReaderProgress]:
    """Return what each reader did, the busiest first."""
    table = DecisionTable
    spoken = table.action.not_in(("undo", "skip"))
    total = func.count()
    query = select(table.reader, total, func.avg(table.seconds)).where(spoken)
    recent = select(table.reader, func.count()).where(spoken, table.decided_at >= since)
    lately = dict(session.execute(recent.group_by(table.reader)).all())
    rows = session.execute(query.group_by(table.reader).order_by(total.desc(), table.reader))
    return [
        ReaderProgress(name, number, lately.get(name, 0), seconds) for name, number, seconds in rows
    ]


def agreement(session: Session) -> list[Agreement]:
    """Return how each pair of readers agrees, those with most in common first."""
    table = DecisionTable
    several = func.min(table.reader) != func.max(table.reader)
    shared = select(table.case_id).group_by(table.case_id).having(several)
    newest = shared.order_by(func.max(table.id).desc()).limit(SHARED_CASES_MAX)
    query = select(table).where(table.case_id.in_(newest)).order_by(table.id)
    return agreement_of([to_decision(row) for row in session.scalars(query)])


def agreement_of(decisions: Sequence[DecisionRow]) -> list[Agreement]:
    """Return how each pair of readers agrees, by all decisions of some cases, oldest first."""
    answers: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    cases: dict[str, list[DecisionRow]] = {}
    for row in decisions:
        cases.setdefault(row.case_id, []).append(row)
    for of_case in cases.values():
        for about in by_subject(of_case).values():
            said = own_opinions(about)
            for one, other in combinations(sorted(said), 2):
                answers[one, other].append((said[one], said[other]))
    pairs = [
        Agreement(names, len(both), sum(a == b for a, b in both), cohen_kappa(both))
        for names, both in answers.items()
    ]
    return sorted(pairs, key=lambda pair: (-pair.shared, pair.readers))
