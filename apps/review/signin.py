"""Who sits at this tab: a name typed in, or an account of the sign-in provider."""

from __future__ import annotations

import streamlit as st

from apps.review import session
from apps.review.access import open_store, provider
from apps.review.components import keep_desk
from apps.review.notices import sentence, tell
from apps.review.provider import Provider
from apps.review.tickets import TICKETS
from medvit.errors import AccessError, StoreError
from medvit.store.roles import Actor

NOBODY = Actor("", "reader")


def come_in() -> bool:
    """Draw who reads into the header; return whether the pages may be shown.

    Without a provider they always are: a decision asks for a name, looking does not.
    """
    asked = provider()
    if asked is None:
        _draw_name()
        return True
    if not st.user.is_logged_in:
        _leave()
        _draw_door()
        return False
    return _let_in(asked)


def actor() -> Actor:
    """Return who acts in this tab, by what the store says now; nobody has the role reader."""
    name = session.reader()
    if name:
        return open_store().actor(name)
    return NOBODY if provider() is not None else open_store().actor("")


def ticket() -> str:
    """Return what this tab shows to the routes that send pixels."""
    held = str(st.session_state.get("ticket", ""))
    given = TICKETS.give(held, sees_names=actor().may("see_names"))
    st.session_state["ticket"] = given
    return given


def _leave() -> None:
    st.session_state.pop("signed_in", None)
    TICKETS.void(str(st.session_state.pop("ticket", "")))


def _sign_out() -> None:
    _leave()
    st.logout()


def _draw_name() -> None:
    with st.container(key="reader_bar"):
        st.text_input(
            "Reader",
            key="reader_name",
            placeholder="Your name",
            max_chars=session.READER_LENGTH,
            persist_state="session",  # a page that is switched to would forget it
        )
    with st.container(key="desk_keys"):
        keep_desk(reader=session.reader(), turn=session.next_turn(), on_name=session.set_reader)
    if why := session.barred():
        tell(why, tone="refusal")
    name = session.reader()
    if not name or st.session_state.get("signed_in") == name:
        return
    try:
        open_store().sign_in(name)
    except AccessError as error:
        session.bar(name, sentence(error))
        tell(sentence(error), tone="refusal")
    except StoreError as error:
        tell(f"Who came in could not be written down: {sentence(error)}", tone="caution")
    else:
        st.session_state["signed_in"] = name


def _draw_door() -> None:
    """Ask for a sign-in: the only thing on the page."""
    with st.container(key="door"):
        st.text("Sign in to review")
        st.text("What you decide is kept under the name of your account.")
        st.button("Sign in", type="primary", on_click=st.login)


def _let_in(asked: Provider) -> bool:
    try:
        who = asked.identity(st.user.to_dict())
        if st.session_state.get("signed_in") != who.subject:
            actor = open_store().sign_in(who.name, subject=who.subject, role=who.role)
            st.session_state["account"] = actor.name
            st.session_state["signed_in"] = who.subject
    except AccessError as error:
        with st.container(key="door"):
            tell(sentence(error), tone="refusal")
            st.button("Sign out", on_click=_sign_out)
        return False
    name = session.reader()
    with st.container(key="reader_bar"):
        role = open_store().actor(name).role
        st.text(f"{name} ({role})", width="content")
        st.button("Sign out", on_click=_sign_out, type="tertiary")
    with st.container(key="desk_keys"):
        keep_desk(reader=name, turn=session.next_turn(), on_name=_keep_account)
    return True


def _keep_account(_name: str) -> None:
    """Leave the name that a browser kept from a time without sign-in."""
