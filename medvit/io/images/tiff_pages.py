"""The pages of a TIFF file: what their directories say, read without any pixel."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_PAGES = 1000
"""Pages looked at; beyond, a file is a stack whatever its pages are."""

MOST_ENTRIES = 4096
"""Entries of one page that are believed."""

_MOST_VALUES = 16
_MOST_TEXT_BYTES = 1024
_ITEM_FORMS = {1: "B", 2: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS = 254, 256, 257, 258
_PHOTOMETRIC, _DESCRIPTION, _ORIENTATION = 262, 270, 274
_SAMPLES, _PLANAR, _SAMPLE_FORMAT, _OLD_SUBFILE = 277, 284, 339, 255
_WANTED = frozenset(
    {
        _SUBFILE,
        _OLD_SUBFILE,
        _WIDTH,
        _HEIGHT,
        _BITS,
        _PHOTOMETRIC,
        _DESCRIPTION,
        _ORIENTATION,
        _SAMPLES,
        _PLANAR,
        _SAMPLE_FORMAT,
    }
)
_REDUCED, _MASK, _SHORT = 1, 4, 3
_ORIENTATION_PLACE = -1


@dataclass(frozen=True, slots=True)
class TiffPage:
    """One page, in the words of TIFF 6.0.

    Attributes:
        number: Place in the file, from 0.
        bits: Of the widest sample.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab.
        sample_format: 1 unsigned, 2 signed, 3 floating point.
        is_planar: Whether the samples lie in separate planes.
        orientation: As in EXIF, 1 to 8.
        orientation_place: Byte of the file where it stands; 0 when it does not.
        is_secondary: Whether the page says that it is a reduced copy or a mask of another.
        images: Images behind the page as ImageJ counts them; 1 for others.
    """

    number: int
    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    sample_format: int
    is_planar: bool
    orientation: int
    orientation_place: int
    is_secondary: bool
    images: int


@dataclass(frozen=True, slots=True)
class _Form:
    order: str
    is_big: bool

    @property
    def offset(self) -> str:
        """Return the form of an offset."""
        return f"{self.order}{'Q' if self.is_big else 'L'}"


def read_pages(path: Path) -> list[TiffPage]:
    """Return the pages of a file in their order, at most `MOST_PAGES` + 1.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If its first page cannot be followed.
    """
    with path.open("rb") as file:
        form, place = _start(file.read(16))
        pages: list[TiffPage] = []
        seen: set[int] = set()
        while place and place not in seen and len(pages) <= MOST_PAGES:
            seen.add(place)
            try:
                entries, place = _read_directory(file, form, place)
                pages.append(_page_of(entries, len(pages)))
            except (struct.error, ValueError):
                break
    if not pages:
        msg = "no page of the TIFF file can be followed"
        raise ValueError(msg)
    return pages


def main_pages(pages: Sequence[TiffPage]) -> list[TiffPage]:
    """Return the pages that are images of their own, not copies or masks of another.

    A page is a copy when it says so, or when it is a smaller one of the same shape as
    the largest page, as in a pyramid.
    """
    own = [page for page in pages if not page.is_secondary] or list(pages)
    largest = max(own, key=lambda page: page.width * page.height)
    return [page for page in own if not _is_smaller_copy(page, largest)]


def _is_smaller_copy(page: TiffPage, largest: TiffPage) -> bool:
    if page.width >= largest.width or page.height >= largest.height:
        return False
    # Both sides are rounded: half a pixel of the smaller page at most.
    skew = abs(page.width * largest.height - page.height * largest.width)
    return skew <= max(largest.width, largest.height)


def _start(raw: bytes) -> tuple[_Form, int]:
    order = {b"II": "<", b"MM": ">"}.get(raw[:2])
    if order is None or len(raw) < 8:
        msg = "no TIFF file"
        raise ValueError(msg)
    is_big = struct.unpack(f"{order}H", raw[2:4])[0] == 43
    form = _Form(order, is_big)
    try:
        return form, struct.unpack_from(form.offset, raw, 8 if is_big else 4)[0]
    except struct.error as error:
        msg = "a TIFF file that ends in its header"
        raise ValueError(msg) from error


def _read_directory(
    file: BinaryIO, form: _Form, place: int
) -> tuple[dict[int, tuple[int, ...] | bytes], int]:
    """Return the wanted values of a page, and where the next page starts."""
    file.seek(place)
    counter = f"{form.order}{'Q' if form.is_big else 'H'}"
    count = struct.unpack(counter, file.read(struct.calcsize(counter)))[0]
    if count > MOST_ENTRIES:
        msg = f"a TIFF page claims {count} entries, at most {MOST_ENTRIES} are believed"
        raise ValueError(msg)
    entry = struct.Struct(f"{form.order}HH{'Q8s' if form.is_big else 'L4s'}")
    start = file.tell()
    raw = file.read(count * entry.size)
    next_place = struct.unpack(form.offset, file.read(struct.calcsize(form.offset)))[0]
    values: dict[int, tuple[int, ...] | bytes] = {}
    for number, (tag, kind, length, inline) in enumerate(entry.iter_unpack(raw)):
        if tag in _WANTED and kind in _ITEM_FORMS:
            values[tag] = _value(file, form, kind, length, inline)
            if tag == _ORIENTATION and kind == _SHORT:
                # The value stands in the last 4 or 8 bytes of its entry.
                values[_ORIENTATION_PLACE] = (start + (number + 1) * entry.size - len(inline),)
    return values, next_place


def _value(
    file: BinaryIO, form: _Form, kind: int, count: int, inline: bytes
) -> tuple[int, ...] | bytes:
    item = _ITEM_FORMS[kind]
    count = min(count, _MOST_TEXT_BYTES if kind == 2 else _MOST_VALUES)
    wanted = count * struct.calcsize(f"={item}")
    raw = inline[:wanted]
    if wanted > len(inline):
        file.seek(struct.unpack(form.offset, inline)[0])
        raw = file.read(wanted)
    return raw if kind == 2 else struct.unpack(f"{form.order}{count}{item}", raw)


def _page_of(entries: dict[int, tuple[int, ...] | bytes], number: int) -> TiffPage:
    def first(tag: int, default: int) -> int:
        found = entries.get(tag) or (default,)
        return int(found[0])

    def largest(tag: int, default: int) -> int:
        found = entries.get(tag) or (default,)
        return max(map(int, found))

    flags = first(_SUBFILE, 0)
    description = entries.get(_DESCRIPTION, b"")
    orientation = first(_ORIENTATION, 1)
    return TiffPage(
        number=number,
        width=first(_WIDTH, 0),
        height=first(_HEIGHT, 0),
        bits=largest(_BITS, 1),
        samples=first(_SAMPLES, 1),
        photometric=first(_PHOTOMETRIC, 1),
        sample_format=largest(_SAMPLE_FORMAT, 1),
        is_planar=first(_PLANAR, 1) == 2,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        orientation_place=first(_ORIENTATION_PLACE, 0),
        is_secondary=bool(flags & (_REDUCED | _MASK)) or first(_OLD_SUBFILE, 1) == 2,
        images=_images_of(description) if isinstance(description, bytes) else 1,
    )


def _images_of(description: bytes) -> int:
    """Return how many images ImageJ put behind one page, one by one without a directory."""
    found = re.search(rb"^images=(\d{1,9})\s*$", description, re.MULTILINE)
    return int(found[1]) if found and description.startswith(b"ImageJ=") else 1
