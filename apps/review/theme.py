"""The colours of the app: dark for reading rooms, light for the shop floor."""

from __future__ import annotations

SHARED: dict[str, str] = {
    "theme.baseRadius": "6px",
    "theme.baseFontSize": "14",
    "theme.showWidgetBorder": "true",
}
COLOURS: dict[str, dict[str, str]] = {
    "dark": {
        "primaryColor": "#4ca9d8",
        "backgroundColor": "#0f1316",
        "secondaryBackgroundColor": "#181d22",
        "textColor": "#dde3e8",
        "borderColor": "#2a3138",
        "linkColor": "#7cc4ea",
    },
    "light": {
        "primaryColor": "#0a6ea3",
        "backgroundColor": "#f7f8f9",
        "secondaryBackgroundColor": "#ffffff",
        "textColor": "#1b2329",
        "borderColor": "#c5ccd3",
        "linkColor": "#0a5f8e",
    },
}


def looks() -> dict[str, str]:
    """Return the options of Streamlit for both themes."""
    own = {
        f"theme.{name}.{option}": value
        for name, colours in COLOURS.items()
        for option, value in colours.items()
    }
    return {"theme.base": "dark", **SHARED, **own}
