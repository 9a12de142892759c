from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, integers

from medvit.io.dicom.elements import (
    DEEPEST,
    MOST_ELEMENTS,
    UNDEFINED_LENGTH,
    WINDOW_BYTES,
    DicomSyntaxError,
    Elements,
    Found,
    walk,
)

ROWS, PIXELS = 0x00280010, 0x7FE00010


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr in (b"OB", b"OW", b"SQ", b"UN"):
        return head + struct.pack("<2sHL", vr, 0, length) + value
    return head + struct.pack("<2sH", vr, length) + value


def item(content: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if length is None else length) + content


ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
TAIL = element(ROWS, b"US", b"\x10\x00") + element(PIXELS, b"OW", b"pixels")


def walked(content: bytes, wanted: Sequence[int] = (ROWS,), *, is_implicit: bool = False) -> Found:
    file = io.BytesIO(content)
    elements = Elements(file, file.read(WINDOW_BYTES))
    return walk(elements, 0, frozenset(wanted), is_implicit=is_implicit)


def test_what_is_wanted_is_kept_and_the_pixels_are_found() -> None:
    content = element(0x00080060, b"CS", b"CT") + TAIL
    found = walked(content)
    assert found.values == {ROWS: b"\x10\x00"}
    assert found.pixels is not None
    assert content[found.pixels.value_start :] == b"pixels"
    assert content[found.pixel_start :][:4] == b"\xe0\x7f\x10\x00"


def test_a_sequence_of_undefined_length_is_jumped_over_with_all_it_holds() -> None:
    hidden = element(ROWS, b"US", b"\xff\xff")
    inner = element(0x00091002, b"SQ", item(hidden), length=None)
    nested = element(
        0x00091001,
        b"SQ",
        item(inner + hidden + ITEM_END, length=UNDEFINED_LENGTH) + SEQUENCE_END,
        length=UNDEFINED_LENGTH,
    )
    assert walked(nested + TAIL).values == {ROWS: b"\x10\x00"}


def test_the_content_of_an_unknown_sequence_is_implicit() -> None:
    implicit = struct.pack("<HHL", 0x0028, 0x0010, 2) + b"\xff\xff"
    unknown = element(0x00091001, b"UN", item(implicit) + SEQUENCE_END, length=UNDEFINED_LENGTH)
    assert walked(unknown + TAIL).values == {ROWS: b"\x10\x00"}


@pytest.mark.parametrize("padding", [0, 5, WINDOW_BYTES - 20, WINDOW_BYTES, 3 * WINDOW_BYTES + 7])
def test_a_header_may_cross_any_number_of_windows(padding: int) -> None:
    content = element(0x00091001, b"OB", bytes(padding)) + TAIL
    found = walked(content)
    assert found.values == {ROWS: b"\x10\x00"}
    assert found.pixel_start == len(content) - len(element(PIXELS, b"OW", b"pixels"))


def test_a_length_beyond_the_end_of_the_file_ends_the_walk() -> None:
    found = walked(element(0x00091001, b"OB", b"", length=0xFFFFFFF0) + TAIL)
    assert (found.values, found.pixels) == ({}, None)


def test_sequences_too_deep_are_given_up_by_number() -> None:
    opening = element(0x00091001, b"SQ", b"", length=UNDEFINED_LENGTH)
    content = (opening + item(b"", length=UNDEFINED_LENGTH)) * DEEPEST
    with pytest.raises(DicomSyntaxError, match=str(DEEPEST)):
        walked(content)


def test_too_many_elements_are_given_up_by_number() -> None:
    file = io.BytesIO(element(0x00091001, b"LO", b"") * (MOST_ELEMENTS + 10))
    elements = Elements(file, file.read(WINDOW_BYTES))
    with pytest.raises(DicomSyntaxError, match=str(MOST_ELEMENTS)):
        walk(elements, 0, frozenset(), is_implicit=False)


@settings(deadline=None)
@given(content=binary(max_size=300), start=integers(0, 40))
def test_any_bytes_end_in_an_answer(content: bytes, start: int) -> None:
    for is_implicit in (False, True):
        file = io.BytesIO(content)
        elements = Elements(file, file.read(WINDOW_BYTES))
        found = walk(elements, start, frozenset({ROWS}), is_implicit=is_implicit)
        assert set(found.values) <= {ROWS}


@pytest.mark.shared_data
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_headers_hold_what_another_reader_finds(shared_data: Path) -> None:
    for name in ("chest99", "dcm_qa_ct/GE_tilt_varspacing", "cip_ct64/dicom", "dcmqi/ct-3slice"):
        path = next(p for p in sorted((shared_data / "ct" / name).iterdir()) if p.is_file())
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        with path.open("rb") as file:
            elements = Elements(file, file.read(WINDOW_BYTES))
            wanted = {int(each.tag) for each in dataset if each.VR in ("DS", "IS", "UI", "CS")}
            start = dataset.file_meta["FileMetaInformationGroupLength"].value + 144
            is_implicit = bool(dataset.original_encoding[0])
            found = walk(elements, start, frozenset(wanted), is_implicit=is_implicit)
        assert set(found.values) == wanted
        # Asked for in one data set, it would be converted; a second one still holds bytes.
        untouched = pydicom.dcmread(path, stop_before_pixels=True)
        for tag in wanted - {0x00080005}:
            value = untouched.get_item(tag)
            assert value is not None
            assert found.values[tag] == (value.value or b"")
