"""The items of compressed DICOM pixels: are they whole, and which of them are a frame."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from medvit.errors import ReadError
from medvit.io.dicom.codestream import J2K_HEAD_BYTES, J2K_SYNTAXES, read_codestream
from medvit.io.dicom.header import SliceHeader
from medvit.io.os_errors import unreadable

MOST_ITEMS = 100_000
"""Items of one file that are followed; a file of 100 MB could hold twelve million empty ones."""

_ITEM = (0xFFFE, 0xE000)
_END = (0xFFFE, 0xE0DD)
_HEAD = struct.Struct("<HHL")


@dataclass(frozen=True, slots=True)
class Fragments:
    """What a walk over the items of encapsulated pixels found.

    Attributes:
        is_whole: Whether every item ends inside the file and one holds data.
        is_signed_j2k: The sign flag of a JPEG 2000 codestream; None for others.
    """

    is_whole: bool
    is_signed_j2k: bool | None


@dataclass(frozen=True, slots=True)
class _Items:
    """Where the items lie.

    Attributes:
        spans: Start and length of each value, the offset table first.
        is_ended: Whether a delimiter, or nothing but the end of the file, follows.
    """

    spans: tuple[tuple[int, int], ...]
    is_ended: bool


def walk_fragments(header: SliceHeader) -> Fragments:
    """Follow the items of encapsulated pixels without reading their content.

    Raises:
        OSError: If the file cannot be opened.
    """
    items = _items_of(header)
    is_whole = items.is_ended and len(items.spans) > 1
    if header.transfer_syntax not in J2K_SYNTAXES or len(items.spans) < 2:
        return Fragments(is_whole, None)
    start, length = items.spans[1]
    with header.path.open("rb") as file:
        file.seek(start)
        found = read_codestream(file.read(min(length, J2K_HEAD_BYTES)))
    return Fragments(is_whole, None if found is None else found.is_signed)


def read_frame(header: SliceHeader) -> bytes:
    """Return the compressed bytes of one frame, its fragments joined.

    Raises:
        ReadError: `truncated`, `unreadable`, or `undecodable` when it cannot be told
            which fragments belong to the frame.
    """
    try:
        items = _items_of(header)
        with header.path.open("rb") as file:
            parts = []
            for start, length in _spans_of_frame(header, items.spans):
                held = max(0, min(length, os.fstat(file.fileno()).st_size - start))
                if held < length:
                    msg = f"{header.path.name}: {held} of {length} bytes of a fragment are there"
                    raise ReadError(msg, reason="truncated", hint="copy the file again")
                file.seek(start)
                parts.append(file.read(length))
    except OSError as error:
        raise unreadable(header.path, error) from error
    if not items.is_ended:
        msg = f"{header.path.name}: {len(items.spans)} items of pixels, and no end to them"
        raise ReadError(msg, reason="truncated", hint="copy or export the file again")
    return b"".join(parts)


def _spans_of_frame(
    header: SliceHeader, spans: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    fragments, frames = spans[1:], max(1, header.layout.frames)
    if frames == 1:
        return fragments
    # An extended offset table is there only where each frame is one fragment (PS3.5, A.4).
    if len(fragments) == frames:
        return fragments[header.frame : header.frame + 1]
    bounds = _bounds_by_table(header.path, spans, frames)
    if bounds is None:
        msg = (
            f"{header.path.name}: {len(fragments)} fragments of {frames} frames, "
            "and no offset table that says which belong together"
        )
        raise ReadError(msg, reason="undecodable", hint="export it as single slices")
    return fragments[bounds[header.frame] : bounds[header.frame + 1]]


def _bounds_by_table(
    path: Path, spans: tuple[tuple[int, int], ...], frames: int
) -> list[int] | None:
    """Return the first fragment of each frame and the end, by the Basic Offset Table."""
    (start, length), *fragments = spans
    if length != 4 * frames or not fragments:
        return None
    with path.open("rb") as file:
        file.seek(start)
        offsets = struct.unpack(f"<{frames}L", file.read(length))
    # Offsets count from the item tag of the first fragment.
    numbers = {place - fragments[0][0]: number for number, (place, _) in enumerate(fragments)}
    bounds = [numbers.get(offset, -1) for offset in offsets] + [len(fragments)]
    is_sound = bounds[0] == 0 and all(one < other for one, other in pairwise(bounds))
    return bounds if is_sound else None


def _items_of(header: SliceHeader) -> _Items:
    state = header.path.stat()
    return _walk_items(header.path, state.st_size, state.st_mtime_ns, header.layout.value_offset)


@lru_cache(maxsize=8)
def _walk_items(path: Path, file_bytes: int, mtime_ns: int, place: int) -> _Items:
    """Walk once, however many frames are read one after the other."""
    spans: list[tuple[int, int]] = []
    with path.open("rb") as file:
        while place + 8 <= file_bytes and len(spans) < MOST_ITEMS:
            file.seek(place)
            group, element, length = _HEAD.unpack(file.read(8))
            if (group, element) != _ITEM:
                return _Items(tuple(spans), is_ended=(group, element) == _END)
            spans.append((place + 8, length))
            place += 8 + length
    # Some writers leave the closing delimiter out; the data are whole all the same.
    return _Items(tuple(spans), is_ended=place == file_bytes)
