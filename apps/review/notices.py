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
    message, hint = error.message, error.hint
    if not hint:
        return message
    stop = "" if message.endswith((".", "!", "?")) else "."
    return f"{message}{stop} {hint[0].upper()}{hint[1:]}"
