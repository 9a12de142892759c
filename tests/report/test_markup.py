"""Escaping."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from medvit.report.markup import Html, join, tag

# Spaces of every kind, joiners and accents included; no control characters.
PRINTABLE = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]))


class _Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_elements_by_hand() -> None:
    assert tag("br") == "<br>"
    assert tag("p", None, "a", 1, class_="x", hidden=False, title=None) == '<p class="x">a1</p>'
    assert (
        tag("td", data_value=0.5, aria_sort="none") == '<td data-value="0.5" aria-sort="none"></td>'
    )
    assert join("<", Html("<b>")) == "&lt;<b>"


@given(text=PRINTABLE, value=PRINTABLE)
def test_text_and_attributes_come_back_and_nothing_else(text: str, value: str) -> None:
    reader = _Reader()
    reader.feed(tag("p", text, title=value))
    reader.close()
    assert reader.tags == [("p", [("title", value)])]
    assert reader.text == text


def test_control_characters_and_lone_surrogates_are_shown_as_escapes() -> None:
    assert tag("p", "a\x00\x1b\udcff") == "<p>a\\x00\\x1b\\udcff</p>"
    assert tag("p", "two\nlines") == "<p>two\nlines</p>"


def test_a_right_to_left_override_cannot_disguise_a_name() -> None:
    assert tag("p", "gnp.\u202eexe") == "<p>gnp.\\u202eexe</p>"
