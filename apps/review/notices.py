"""Sentences on the page; text from outside is never taken for Markdown or HTML."""

from __future__ import annotations

import zlib
from typing import Literal

import streamlit as st

from medvit.errors import MedvitError

Tone = Literal["refusal", "caution", "notice"]


def tell(message: str, *, tone: Tone) -> None:
    """Show a sentence in a coloured frame."""
    with st.container(key=f"{tone}_{zlib.crc32(message.encode())}"):
        st.text(message)


def sentence(error: MedvitError) -> str:
    """Return an error with its way out, as one text."""
    return " ".join(part for part in (error.message, error.hint) if part)
