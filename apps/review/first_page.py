"""The page that starts the app, with the theme that the browser kept there from the start."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

PAGES = ("", "review", "labels", "models", "runs", "readers")
"""Addresses of pages; another one is served as Streamlit does, in the theme it remembers."""

EARLY = """<script>
(() => {
  let theme = "dark";
  try {
    theme = localStorage.getItem("medvit.theme") === "light" ? "light" : "dark";
    const name = JSON.stringify(theme === "light" ? "Light" : "Dark");
    localStorage.setItem(`stActiveTheme-${location.pathname}-v2`, name);
  } catch { /* a browser that keeps nothing stays dark */ }
  document.documentElement.dataset.theme = theme;
})();
</script>"""
"""Runs before the page is drawn: no flash of the other theme."""


@cache
def first_page() -> str:
    """Return the page that starts the app, with what sets the theme before anything is drawn."""
    path = Path(streamlit.__file__).with_name("static") / "index.html"
    text = path.read_text(encoding="utf-8")
    return text.replace("<head>", f"<head>{EARLY}", 1)


def send_first_page(request: Request) -> Response:
    """Send the page that starts the app."""
    return HTMLResponse(first_page(), headers={"Cache-Control": "no-cache"})


def send_to_worklist(request: Request) -> Response:
    """Send who asks for the worklist by its name to where it is: it has no address of its own."""
    return RedirectResponse("/")


PAGE_ROUTES = [
    *(Route(f"/{name}", send_first_page) for name in PAGES),
    Route("/worklist", send_to_worklist),
]
