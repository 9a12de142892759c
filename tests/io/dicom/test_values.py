from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis.strategies import text

from medvit.io.dicom.values import LONGEST_TEXT, TAGS, Values, plain_uid


def raw_values(**values: bytes) -> Values:
    """Return values as a file holds them: bytes that nobody has checked yet."""
    return Values({TAGS[keyword]: value for keyword, value in values.items()})


def test_sound_values_come_with_their_type() -> None:
    values = raw_values(
        NumberOfFrames=b"7 ", RescaleSlope=b"0.5", PixelSpacing=b"1.5\\2", ImageType=b"a\\b "
    )
    assert values.whole("NumberOfFrames") == 7
    assert values.number("RescaleSlope") == 0.5
    assert values.numbers("PixelSpacing", 2) == (1.5, 2.0)
    assert values.texts("ImageType") == ("A", "B")
    assert values.bad == []


def test_absent_values_are_defaults_and_not_bad() -> None:
    values = raw_values(RescaleType=b"")
    assert values.text("RescaleType") == ""
    assert values.unsigned("Rows", 3) == 3
    assert values.whole("NumberOfFrames") is None
    assert values.number("RescaleSlope") is None
    assert values.bad == []


@pytest.mark.parametrize("raw", [b"1A", b"1.5", b"seven", b"1_0"])
def test_a_broken_whole_number_is_remembered(raw: bytes) -> None:
    values = raw_values(NumberOfFrames=raw)
    assert values.whole("NumberOfFrames") is None
    assert values.bad == ["NumberOfFrames"]


@pytest.mark.parametrize("raw", [b"1\\2\\3", b"1", b"1\\nan", b"1\\inf", b"1\\x"])
def test_a_row_of_numbers_of_the_wrong_kind_is_remembered(raw: bytes) -> None:
    values = raw_values(PixelSpacing=raw)
    assert values.numbers("PixelSpacing", 2) is None
    assert values.bad == ["PixelSpacing"]


@pytest.mark.parametrize("raw", [b"nan", b"1e999", b"--2", b"1_0.5"])
def test_a_number_that_is_not_finite_is_remembered(raw: bytes) -> None:
    values = raw_values(RescaleSlope=raw)
    assert values.number("RescaleSlope") is None
    assert values.bad == ["RescaleSlope"]
    assert math.isfinite(raw_values(RescaleSlope=b"1e30").number("RescaleSlope") or math.inf)


def test_text_that_cannot_be_printed_is_masked_and_cut() -> None:
    values = raw_values(RescaleType=b"H\x01\xffU" + b"x" * 100)
    assert values.text("RescaleType").startswith("H??U")
    assert len(values.text("RescaleType")) == LONGEST_TEXT


@settings(deadline=None)
@given(value=text(max_size=90))
def test_a_uid_is_digits_or_a_hash(value: str) -> None:
    uid = plain_uid(value)
    assert uid == "" or uid.startswith("invalid-") or set(uid) <= set("0123456789abcdefABCDEF.-")
    assert len(uid) <= 64


@pytest.mark.parametrize(("raw", "is_little"), [(b"\x00\x02", True), (b"\x02\x00", False)])
def test_a_binary_number_follows_the_byte_order(raw: bytes, *, is_little: bool) -> None:
    assert Values({TAGS["Rows"]: raw}, is_little=is_little).unsigned("Rows") == 512


def test_a_binary_number_of_an_odd_length_is_remembered() -> None:
    values = raw_values(Rows=b"512")
    assert (values.unsigned("Rows"), values.bad) == (0, ["Rows"])
