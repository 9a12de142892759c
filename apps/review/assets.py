"""Scripts and styles of the components, read from the folder beside this file."""

from __future__ import annotations

from pathlib import Path

WEB = Path(__file__).with_name("web")


def asset(*names: str) -> str:
    """Return files of the web folder, one after the other, as one text."""
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)
