"""The functional groups of enhanced multi-frame images: what each frame says of itself.

PS3.3, C.7.6.16: values shared by all frames, overridden by those of the frame.
"""

from __future__ import annotations

from medvit.io.dicom.elements import (
    FRAME_GROUPS,
    PER_FRAME_GROUPS,
    SHARED_GROUPS,
    Element,
    Elements,
    Found,
    read_items,
)
from medvit.io.dicom.values import TAGS

FRAME_SEQUENCES = frozenset({SHARED_GROUPS, PER_FRAME_GROUPS})

_WANTED = frozenset(TAGS.values())


def read_frames(elements: Elements, found: Found, *, is_implicit: bool) -> list[dict[int, bytes]]:
    """Return the raw values of every frame by tag; empty when the file has no such groups.

    Raises:
        DicomSyntaxError: If there are too many elements or too deep sequences.
    """
    if PER_FRAME_GROUPS not in found.sequences:
        return []
    shared: dict[int, bytes] = {}
    if SHARED_GROUPS in found.sequences:
        for item in _items(elements, found.sequences[SHARED_GROUPS], is_implicit=is_implicit):
            shared |= item
    own = _items(elements, found.sequences[PER_FRAME_GROUPS], is_implicit=is_implicit)
    return [found.values | shared | values for values in own]


def _items(elements: Elements, sequence: Element, *, is_implicit: bool) -> list[dict[int, bytes]]:
    """Return, for each item, the values of all its groups."""
    found = []
    for item in read_items(elements, sequence, FRAME_GROUPS, is_implicit=is_implicit):
        values: dict[int, bytes] = {}
        for group in item.sequences.values():
            for part in read_items(elements, group, _WANTED, is_implicit=is_implicit):
                values |= part.values
        found.append(values)
    return found
