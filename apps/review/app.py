"""The router of the review app: header, pages, and what every page shares."""

from __future__ import annotations

import streamlit as st

from apps.review import claiming, session
from apps.review.access import open_store
from apps.review.assets import WEB, asset
from apps.review.labels_page import show_labels
from apps.review.models_page import show_models
from apps.review.notices import sentence, tell
from apps.review.people import show_people
from apps.review.reading import show_review
from apps.review.runs_page import show_runs
from apps.review.signin import come_in
from apps.review.worklist import show_worklist
from medvit.errors import MedvitError

DISCLAIMER = "Research software, not a medical device."


def main() -> None:
    """Draw the frame and the page the address names."""
    st.set_page_config(page_title="medvit", layout="wide", initial_sidebar_state="collapsed")
    st.logo(str(WEB / "logo.svg"), size="large")
    st.html(f"<style>{asset('look.css')}</style>")
    worklist = st.Page(show_worklist, title="Worklist", url_path="worklist", default=True)
    review = st.Page(_read, title="Review", url_path="review")
    people = st.Page(show_people, title="Readers", url_path="readers")
    labels = st.Page(show_labels, title="Labels", url_path="labels")
    models = st.Page(show_models, title="Models", url_path="models")
    runs = st.Page(show_runs, title="Runs", url_path="runs")
    pages = [worklist, review, labels, models, runs, people]
    page = st.navigation(pages, position="top")
    if case_id := session.take_goto():
        st.switch_page(review, query_params={"case": case_id})
    try:
        if come_in():
            _draw_messages()
            open_store()
            page.run()
    except MedvitError as error:
        tell(sentence(error), tone="caution")
    st.caption(DISCLAIMER)


def _read() -> None:
    with st.container(key="claim"):
        claiming.hold(str(st.query_params.get("case", "")))
    show_review()


def _draw_messages() -> None:
    # Always there, so that a message moves nothing below it out of its place in the tree.
    with st.container(key="messages"):
        if message := session.take_refusal():
            tell(message, tone="refusal")


if __name__ == "__main__":
    main()
