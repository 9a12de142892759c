"""HTML in which every text is escaped unless it was built here."""

from __future__ import annotations

import unicodedata
from html import escape

VOID = {"meta", "img", "input", "br", "col"}
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


class Html(str):
    """Text that is HTML already; any other string is escaped by `tag`."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element with its children; everything but `Html` is escaped.

    Args:
        name: Of the element, written by hand and never taken from data.
        children: Text, numbers or `Html`; None is left out.
        attributes: `class_` stands for `class` and `data_x` for `data-x`; True gives an
            attribute without a value, None and False give none.

    Examples:
        >>> tag("p", "1 < 2", class_="note")
        '<p class="note">1 &lt; 2</p>'
        >>> tag("ul", tag("li", 1), tag("li", 2), hidden=True)
        '<ul hidden><li>1</li><li>2</li></ul>'
    """
    opening = "".join([name, *(_attribute(key, value) for key, value in attributes.items())])
    if name in VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Return children one after the other, escaped as in `tag`."""
    return Html("".join(_text(child) for child in children if child is not None))


def _text(child: object) -> str:
    return child if isinstance(child, Html) else escape(_printable(str(child)))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(_printable(str(value)))}"'


def _printable(text: str) -> str:
    """Write control characters, lone surrogates and marks that turn the direction as escapes."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if _is_hidden(c) else c for c in text)


def _is_hidden(character: str) -> bool:
    control = unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
    return control or unicodedata.bidirectional(character) in TURNING


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
