"""The server of the review app: Streamlit's pages and the routes that send pixels."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from threading import Thread

import streamlit as st

from apps.review.first_page import PAGE_ROUTES
from apps.review.routes import ROUTES

# Streamlit asks for it when it sends the first part of a page, which would wait for it.
Thread(target=import_module, args=("pandas",), daemon=True).start()

app = st.App(Path(__file__).with_name("app.py"), routes=[*ROUTES, *PAGE_ROUTES])
