"""A walk over the elements of a DICOM data set that reads only the values asked for.

Bounded by construction: a length is followed, never believed. Memory is one window of
the file and the values kept, whatever a file declares; nested sequences are walked
without recursion, and a file with more than `MOST_ELEMENTS` is given up.
"""

from __future__ import annotations

import struct
from collections.abc import Set
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

UNDEFINED_LENGTH = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
"""Float, double and plain pixel data (PS3.5, 8.4): where a header ends."""

MOST_ELEMENTS = 1_000_000
"""Elements walked in one file; an enhanced CT of 2,000 frames has about 200,000."""

MOST_VALUE_BYTES = 1 << 14
"""Longest value kept; the values read here have at most 16 numbers of 16 characters."""

DEEPEST = 1000
"""Sequences within sequences before a file is given up."""

WINDOW_BYTES = 1 << 15
"""What is read of a file at a time; nearly every CT header ends inside the first window."""

META_TAGS = frozenset({0x00020002, 0x00020010})
"""SOP class and transfer syntax, as the file meta information names them."""

FRAME_GROUPS = frozenset(
    {
        0x00189314,  # CTReconstructionSequence
        0x00189329,  # CTImageFrameTypeSequence
        0x00209111,  # FrameContentSequence
        0x00209113,  # PlanePositionSequence
        0x00209116,  # PlaneOrientationSequence
        0x00289110,  # PixelMeasuresSequence
        0x00289145,  # PixelValueTransformationSequence
    }
)
"""Functional groups of multi-frame images (PS3.3, C.7.6.16)."""

DIRECTORY_RECORDS = 0x00041220
SHARED_GROUPS, PER_FRAME_GROUPS = 0x52009229, 0x52009230
SEQUENCE_TAGS = FRAME_GROUPS | {DIRECTORY_RECORDS, SHARED_GROUPS, PER_FRAME_GROUPS}
"""Sequences that are entered; in an implicit data set nothing else tells them from values."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
KNOWN_VRS = _LONG_VRS | _SHORT_VRS
_SPARE = bytes(12)
_LITTLE, _BIG = struct.Struct("<HH2sHL"), struct.Struct(">HH2sHL")
_LITTLE_LONG, _BIG_LONG = struct.Struct("<4xL"), struct.Struct(">4xL")


class DicomSyntaxError(ValueError):
    """Elements that cannot be followed."""


class Element(NamedTuple):
    """One element without its value.

    Attributes:
        vr: Value representation; empty where none is written.
        value_start: Byte of the file where its value starts.
        length: As declared; `UNDEFINED_LENGTH` for some sequences and compressed pixels.
    """

    tag: int
    vr: bytes
    value_start: int
    length: int


@dataclass(slots=True)
class Found:
    """What a walk over one level of a data set found.

    Attributes:
        values: Raw values by tag, of those wanted.
        sequences: Sequences wanted, by tag.
        pixels: The element of the pixels, where the walk stopped; None without pixels.
        pixel_start: Byte of its tag.
        end: Byte where the walk stopped.
    """

    values: dict[int, bytes] = field(default_factory=dict)
    sequences: dict[int, Element] = field(default_factory=dict)
    pixels: Element | None = None
    pixel_start: int = 0
    end: int = 0


class Elements:
    """A cursor over a file of one byte order.

    Attributes:
        is_mixed: Whether elements without a value representation were met in a data set
            that should have them.
    """

    def __init__(self, file: BinaryIO, head: bytes, *, is_little: bool = True) -> None:
        self._file = file
        self._data, self._base, self._end = head + _SPARE, 0, len(head)
        self._is_last = len(head) < WINDOW_BYTES
        self._left = MOST_ELEMENTS
        self.is_mixed = False
        self.set_order(is_little=is_little)

    def set_order(self, *, is_little: bool) -> None:
        """Read on in another byte order."""
        self.is_little = is_little
        self._unpack = (_LITTLE if is_little else _BIG).unpack_from
        self._unpack_long = (_LITTLE_LONG if is_little else _BIG_LONG).unpack_from

    def bytes_at(self, place: int, count: int) -> bytes:
        """Return at most `count` bytes at a place; fewer where the file ends."""
        if place < self._base or (place + count > self._end and not self._is_last):
            self._move_to(place)
        start = place - self._base
        return self._data[start : min(start + count, self._end - self._base)]

    def read(self, place: int, *, is_implicit: bool) -> Element | None:
        """Return the element at a place; None where the file ends.

        Raises:
            DicomSyntaxError: If there are too many elements.
        """
        if (place + 12 > self._end and not self._is_last) or place < self._base:
            self._move_to(place)
        if place + 8 > self._end:
            return None
        self._left -= 1
        if self._left < 0:
            msg = f"more than {MOST_ELEMENTS} elements"
            raise DicomSyntaxError(msg)
        offset = place - self._base
        group, number, vr, short, long = self._unpack(self._data, offset)
        tag = group << 16 | number
        if is_implicit or group == 0xFFFE:
            return Element(tag, b"", place + 8, self._unpack_long(self._data, offset)[0])
        if vr in _SHORT_VRS:
            return Element(tag, vr, place + 8, short)
        if vr in _LONG_VRS:
            return Element(tag, vr, place + 12, long)
        if vr.isalpha() and vr.isupper():
            # A VR to come has two reserved bytes and a long length (PS3.5, 7.1.2).
            return Element(tag, vr, *((place + 12, long) if short == 0 else (place + 8, short)))
        self.is_mixed = True
        return Element(tag, b"", place + 8, self._unpack_long(self._data, offset)[0])

    def skip(self, place: int, wanted: Set[int], *, is_implicit: bool) -> int:
        """Return the first place from which only `read` can go on.

        Jumps over plain elements of known length that are not wanted, as long as they
        start inside the window: most of a header, so this is where its time goes.
        """
        data, unpack, unpack_long = self._data, self._unpack, self._unpack_long
        offset, last, steps = place - self._base, self._end - self._base - 12, 0
        while 0 <= offset <= last and steps < self._left:
            group, number, vr, length, long = unpack(data, offset)
            if group == 0xFFFE or (group << 16 | number) in wanted:
                break
            if is_implicit:
                length = unpack_long(data, offset)[0]
            elif vr in _LONG_VRS:
                length = long if long == UNDEFINED_LENGTH else long + 4
            elif vr not in _SHORT_VRS:
                break
            if length == UNDEFINED_LENGTH:
                break
            offset += length + 8
            steps += 1
        self._left -= steps
        return self._base + offset

    def _move_to(self, place: int) -> None:
        self._file.seek(place)
        head = self._file.read(WINDOW_BYTES)
        self._base, self._data, self._end = place, head + _SPARE, place + len(head)
        self._is_last = len(head) < WINDOW_BYTES


def walk(
    elements: Elements,
    start: int,
    wanted: Set[int],
    *,
    is_implicit: bool,
    limit: int | None = None,
    before: int = 1 << 32,
) -> Found:
    """Follow one level of elements up to its pixels, its end, or the first tag from `before` on.

    Args:
        elements: The file.
        start: Byte of the first element.
        wanted: Tags whose values, or sequences, are kept.
        is_implicit: Whether elements carry no value representation.
        limit: Byte where the level ends, if it has a length.
        before: Tags from here on are not read.

    Raises:
        DicomSyntaxError: If there are too many elements or too deep sequences.
    """
    found, place, stops = Found(), start, PIXEL_TAGS.union(wanted)
    while True:
        if before > PIXEL_DATA:
            place = elements.skip(place, stops, is_implicit=is_implicit)
        if limit is not None and place >= limit:
            break
        element = elements.read(place, is_implicit=is_implicit)
        if element is None or element.tag >= before:
            break
        tag, _vr, value_start, length = element
        if tag in PIXEL_TAGS:
            found.pixels, found.pixel_start = element, place
            break
        if tag in (_ITEM_END, _SEQUENCE_END):
            place = value_start
            break
        if tag in wanted:
            _keep(elements, element, found)
        if length == UNDEFINED_LENGTH:
            place = _behind(elements, element, is_implicit=is_implicit)
        else:
            place = value_start + length
    found.end = place
    return found


def walk_meta(elements: Elements) -> Found:
    """Return the file meta information; it ends where the data set starts.

    Without preamble, or without meta information, the walk ends at once.
    """
    start = 132 if elements.bytes_at(128, 4) == b"DICM" else 0
    found = walk(elements, start, META_TAGS, is_implicit=False, before=0x00030000)
    elements.is_mixed = False  # the first element behind may well be implicit
    return found


def read_items(
    elements: Elements, sequence: Element, wanted: Set[int], *, is_implicit: bool
) -> list[Found]:
    """Return what the items of a sequence hold.

    Raises:
        DicomSyntaxError: If there are too many elements or too deep sequences.
    """
    items, place = [], sequence.value_start
    inner = is_implicit or sequence.vr == b"UN"
    limit = None if sequence.length == UNDEFINED_LENGTH else place + sequence.length
    while limit is None or place < limit:
        item = elements.read(place, is_implicit=inner)
        if item is None or item.tag != _ITEM:
            break
        ends = None if item.length == UNDEFINED_LENGTH else item.value_start + item.length
        found = walk(elements, item.value_start, wanted, is_implicit=inner, limit=ends)
        items.append(found)
        place = found.end if ends is None else ends
    return items


def _keep(elements: Elements, element: Element, found: Found) -> None:
    tag, vr, value_start, length = element
    if (vr in (b"SQ", b"UN", b"") and tag in SEQUENCE_TAGS) or length == UNDEFINED_LENGTH:
        found.sequences.setdefault(tag, element)
    elif tag not in found.values:
        found.values[tag] = elements.bytes_at(value_start, min(length, MOST_VALUE_BYTES))


def _behind(elements: Elements, element: Element, *, is_implicit: bool) -> int:
    """Return the byte behind a sequence of undefined length.

    Levels of undefined length are counted, not recursed into; what has a length is
    jumped over as a whole.
    """
    # The content of a sequence of unknown VR is implicit (PS3.5, 6.2.2, note 2).
    levels, place = [is_implicit or element.vr == b"UN"], element.value_start
    while levels:
        place = elements.skip(place, frozenset(), is_implicit=levels[-1])
        step = elements.read(place, is_implicit=levels[-1])
        if step is None:
            return place
        place = step.value_start
        if step.tag in (_ITEM_END, _SEQUENCE_END):
            levels.pop()
        elif step.length != UNDEFINED_LENGTH:
            place += step.length
        elif len(levels) == DEEPEST:
            msg = f"sequences nested more than {DEEPEST} deep"
            raise DicomSyntaxError(msg)
        else:
            levels.append(levels[-1] or step.vr == b"UN")
    return place
