"""The router of the review app: header, pages, and what every page shares."""

from __future__ import annotations

import streamlit as st

from apps.review import session
from apps.review.access import open_store
from apps.review.assets import WEB, asset
from apps.review.components import keep_desk
from apps.review.notices import sentence, tell
from apps.review.reading import show_review
from apps.review.worklist import show_worklist
from medvit.errors import MedvitError

DISCLAIMER = "Research software, not a medical device."


def main() -> None:
    """Draw the frame and the page the address names."""
    st.set_page_config(page_title="medvit", layout="wide", initial_sidebar_state="collapsed")
    st.logo(str(WEB / "logo.svg"), size="large")
    st.html(f"<style>{asset('look.css')}</style>")
    worklist = st.Page(show_worklist, title="Worklist", url_path="worklist", default=True)
    review = st.Page(show_review, title="Review", url_path="review")
    page = st.navigation([worklist, review], position="top")
    if case_id := session.take_goto():
        st.switch_page(review, query_params={"case": case_id})
    with st.container(key="reader_bar"):
        st.text_input(
            "Reader", key="reader_name", placeholder="Your name", max_chars=session.READER_LENGTH
        )
    with st.container(key="desk_keys"):
        keep_desk(reader=session.reader(), turn=session.next_turn(), on_name=session.set_reader)
    # Always there, so that a message moves nothing below it out of its place in the tree.
    with st.container(key="messages"):
        if message := session.take_refusal():
            tell(message, tone="refusal")
    try:
        open_store()
        page.run()
    except MedvitError as error:
        tell(sentence(error), tone="caution")
    st.caption(DISCLAIMER)


if __name__ == "__main__":
    main()
