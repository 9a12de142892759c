"""The page of readers: how far they are, how well they agree, their roles, and the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from apps.review import session
from apps.review.access import open_store
from apps.review.notices import sentence
from apps.review.signin import actor
from apps.review.tables import draw_table
from medvit.errors import StoreError
from medvit.store.audit import AuditRow
from medvit.store.progress import SHARED_CASES_MAX, Agreement
from medvit.store.roles import ROLES, Actor
from medvit.store.store import Store

LOG_LENGTH = 50
FEW_SHARED = 20
"""Below so many shared answers a kappa says little."""


def show_people() -> None:
    """Draw progress, agreement, roles and the log, as far as the role allows."""
    store, who = open_store(), actor()
    _draw_progress(store)
    _draw_agreement(store.agreement())
    _draw_roles(store, who)
    _draw_log(store, who)


def _draw_progress(store: Store) -> None:
    today = datetime.now(UTC).astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    roles = {row.name: row.role for row in store.list_readers()}
    rows = [
        [
            done.reader,
            roles.pop(done.reader, None),
            done.decided,
            done.since,
            None if done.seconds is None else round(done.seconds, 1),
        ]
        for done in store.reader_progress(since=today)
    ]
    rows += [[name, role, 0, 0, None] for name, role in roles.items()]
    draw_table(
        "progress",
        "Progress",
        ("Reader", "Role", "#Decisions", "#Today", "#Seconds each"),
        rows,
        empty="Nobody has decided anything yet. Open a case from the worklist.",
    )


def _draw_agreement(pairs: Sequence[Agreement]) -> None:
    rows = [
        [
            " and ".join(pair.readers),
            pair.shared,
            f"{pair.equal / pair.shared:.0%}",
            None if pair.kappa is None else f"{pair.kappa:.2f}",
            f"fewer than {FEW_SHARED} shared: says little" if pair.shared < FEW_SHARED else "",
        ]
        for pair in pairs
    ]
    draw_table(
        "agreement",
        f"Agreement on the newest {SHARED_CASES_MAX:,} cases with several readers",
        ("Readers", "#Shared", "#Equal", "#Cohen's kappa", "Note"),
        rows,
        empty="No two readers have decided about the same finding yet.",
    )


def _draw_roles(store: Store, who: Actor) -> None:
    if not who.may("set_role") or not who.name:
        return
    with st.form("roles", border=False, clear_on_submit=True):
        name, role, button = st.columns([3, 1.5, 1], vertical_alignment="bottom")
        name.text_input("Give a role to", key="role_name", placeholder="Name of the reader")
        role.selectbox("Role", ROLES, key="role_given")
        button.form_submit_button("Give role", on_click=_give, args=(store, who))
    if not who.assigned:
        st.text("No admin yet: every reader may do everything. Make yourself admin first.")


def _give(store: Store, who: Actor) -> None:
    name = str(st.session_state["role_name"])
    try:
        store.set_role(who, name, str(st.session_state["role_given"]))
    except StoreError as error:
        session.refuse(f"Not changed: {sentence(error)}")


def _draw_log(store: Store, who: Actor) -> None:
    page = int(st.session_state.get("log_page", 0))
    mine = "" if who.may("see_names") else who.name or "-"
    rows = store.list_audit(limit=LOG_LENGTH + 1, offset=page * LOG_LENGTH, reader=mine)
    draw_table(
        "log",
        "Log of what you did" if mine else "Log of who did what",
        ("@When", "Who", "As", "Did", "To", "Details"),
        [_log_line(row) for row in rows[:LOG_LENGTH]],
        empty="Nothing is in the log yet.",
    )
    if page or len(rows) > LOG_LENGTH:
        with st.container(horizontal=True):
            st.button("Newer", on_click=_turn, args=(page - 1,), disabled=not page)
            st.button("Older", on_click=_turn, args=(page + 1,), disabled=len(rows) <= LOG_LENGTH)


def _turn(page: int) -> None:
    st.session_state["log_page"] = page


def _log_line(row: AuditRow) -> list[Any]:
    details = ", ".join(f"{name}: {value}" for name, value in row.details.items())
    return [
        row.at.isoformat(),
        row.reader,
        row.role,
        row.deed.replace("_", " "),
        row.subject,
        details,
    ]
