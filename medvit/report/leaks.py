"""Search files of every kind for texts that would tell who a patient is."""

from __future__ import annotations

import html
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from medvit.report.identity import LONGEST, Identity, Needle
from medvit.report.packed import iter_pieces

CHUNK_BYTES = 1 << 22
BASE64_RUN = 256
"""Length of a run of letters and digits from which on it is a picture, not text."""

MARGIN = 12 * LONGEST + BASE64_RUN
"""Bytes kept around the border of two chunks: a letter takes 12 as two JSON escapes."""

_WORD_BYTE = re.compile(rb"[0-9a-z\x80-\xff]")
_RUN_BEFORE = re.compile(rb"[0-9a-z+/=]*\Z")
_RUN_AFTER = re.compile(rb"[0-9a-z+/=]*")


@dataclass(frozen=True, slots=True)
class Leak:
    """Values of one attribute in one file; the values themselves are not told.

    Attributes:
        file: As it was called, `!` before members of archives; what identifies a patient
            in the name itself is shown as `***`.
        keyword: Attribute that the values come from.
        count: How often they were met.
        where: The first place: a byte, a column, or the name itself.
    """

    file: str
    keyword: str
    count: int
    where: str


class Searcher:
    """Finds the needles of an identity in all the forms in which programs write text."""

    def __init__(self, identity: Identity) -> None:
        self._keywords = identity.needles
        self._needles: dict[bytes, set[Needle]] = {}
        for needle in identity.needles:
            for form in written_forms(needle.text):
                self._needles.setdefault(form, set()).add(needle)
        self._pattern = re.compile(trie_pattern(self._needles)) if self._needles else None

    def search_text(self, text: str) -> Counter[str]:
        """Return how often values of each attribute stand in a text."""
        content = io.BytesIO(text.encode("utf-8", "surrogateescape"))
        return Counter(keyword for keyword, _ in self._hits(content))

    def search_file(self, path: Path, name: str) -> list[Leak]:
        """Return what leaks from a file, its name included.

        Args:
            path: The file.
            name: How the file is called in the answer.

        Raises:
            Exception: One of `PACKED_ERRORS`, if it cannot be read to the end.
        """
        found: dict[tuple[str, str], list[str]] = {}
        for keyword, count in self.search_text(name).items():
            found[name, keyword] = ["the name of the file"] * count
        for piece in iter_pieces(path):
            full = name + piece.member
            for keyword, count in self.search_text(piece.member).items():
                found.setdefault((full, keyword), []).extend(["the name of the member"] * count)
            for keyword, place in self._hits(piece.stream):
                found.setdefault((full, keyword), []).append(piece.where or f"byte {place}")
        return [
            Leak(self.masked(full), keyword, len(places), places[0])
            for (full, keyword), places in sorted(found.items())
        ]

    def masked(self, name: str) -> str:
        """Return a name with everything that identifies a patient replaced by `***`."""
        content = name.encode("utf-8", "surrogateescape")
        spans = [(start, stop) for start, stop, _ in self._matches(content.lower(), len(content))]
        for start, stop in reversed(_merged(spans)):
            content = content[:start] + b"***" + content[stop:]
        return content.decode("utf-8", "replace")

    def _hits(self, stream: IO[bytes]) -> Iterator[tuple[str, int]]:
        """Yield the keyword and the byte of each value in a stream."""
        for content, begin, end, base in windows(stream):
            for start, _, keywords in self._matches(content, end, begin=begin):
                for keyword in sorted(keywords):
                    yield keyword, base + start

    def _matches(
        self, content: bytes, end: int, *, begin: int = 0
    ) -> Iterator[tuple[int, int, set[str]]]:
        """Yield start, stop and keywords wherever a value starts from `begin` up to `end`."""
        if self._pattern is None:
            return
        match = self._pattern.search(content, begin)
        while match is not None and match.start() < end:
            start = match.start()
            keywords: set[str] = set()
            last = start
            for stop in range(start + 1, match.end() + 1):
                own = self._keywords_at(content, start, stop)
                last = stop if own else last
                keywords |= own
            if keywords:
                yield start, last, keywords
            match = self._pattern.search(content, start + 1)

    def _keywords_at(self, content: bytes, start: int, stop: int) -> set[str]:
        keywords: set[str] = set()
        for needle in self._needles.get(content[start:stop], ()):
            alone = not needle.is_word or stands_alone(content, start, stop)
            if alone and not is_in_picture(content, start, stop):
                keywords |= self._keywords[needle]
        return keywords


def windows(stream: IO[bytes]) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield a stream in overlapping parts, in lower case.

    Yields:
        The part, the range of it in which texts may start that were in no part before,
        and where the part starts in the stream.
    """
    content, begin, base = b"", 0, 0
    while True:
        chunk = stream.read(CHUNK_BYTES)
        content += chunk.lower()
        end = len(content) - MARGIN if chunk else len(content)
        if end > begin:
            yield content, begin, end, base
            kept = max(0, end - MARGIN)
            content, begin, base = content[kept:], end - kept, base + kept
        if not chunk:
            return


def written_forms(text: str) -> set[bytes]:
    """Return how programs write a text, in lower case: encodings, JSON, HTML, URLs.

    Examples:
        >>> {b"o%27k", b"o&#x27;k", b"o'k"} < written_forms("o'k")
        True
    """
    forms: set[bytes] = set()
    for case in (text, text.upper(), text.title()):
        plain = {case, html.escape(case), json.dumps(case)[1:-1], quote(case)}
        for form in plain:
            encoded = [form.encode(code, "replace") for code in ("utf-8", "latin-1", "utf-16-le")]
            forms.update(each.lower() for each in encoded if b"?" not in each or "?" in form)
    return forms


def trie_pattern(texts: Iterable[bytes]) -> bytes:
    """Return a pattern that matches the longest of many texts in one pass.

    Examples:
        >>> trie_pattern([b"ab", b"ac", b"a"])
        b'a(?:b|c)?'
    """
    root: dict[int, Any] = {}
    for text in texts:
        node = root
        for byte in text:
            node = node.setdefault(byte, {})
        node[-1] = {}
    return _pattern_of(root)


def stands_alone(content: bytes, start: int, stop: int) -> bool:
    """Return whether no letter or digit stands beside a text, and no decimal point.

    Examples:
        >>> [stands_alone(text, 1, 3) for text in (b" 12 ", b"a12 ", b" 12b", b" 12.", b" 12.5")]
        [True, False, False, True, False]
    """
    before, after = content[max(0, start - 2) : start], content[stop : stop + 2]
    if _WORD_BYTE.match(before[-1:]) or _WORD_BYTE.match(after[:1]):
        return False
    is_fraction = before[-1:] == b"." and before[:1].isdigit() and len(before) == 2
    return not (is_fraction or (after[:1] == b"." and after[1:2].isdigit()))


def is_in_picture(content: bytes, start: int, stop: int) -> bool:
    """Return whether a text is a part of a long run of base64."""
    before = _RUN_BEFORE.search(content[max(0, start - BASE64_RUN) : start])
    after = _RUN_AFTER.match(content[stop : stop + BASE64_RUN])
    run = sum(len(each.group()) for each in (before, after) if each is not None)
    return run >= BASE64_RUN


def _pattern_of(node: dict[int, Any]) -> bytes:
    ends = -1 in node
    branches = [
        re.escape(bytes([byte])) + _pattern_of(child)
        for byte, child in sorted(node.items())
        if byte >= 0
    ]
    if not branches:
        return b""
    if len(branches) == 1 and not ends:
        return branches[0]
    return b"(?:" + b"|".join(branches) + b")" + (b"?" if ends else b"")


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
