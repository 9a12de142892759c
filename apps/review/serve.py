"""The server of the review app: Streamlit's pages and the routes that send pixels."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from apps.review.first_page import PAGE_ROUTES
from apps.review.routes import ROUTES

app = st.App(Path(__file__).with_name("app.py"), routes=[*ROUTES, *PAGE_ROUTES])
