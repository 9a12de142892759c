from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis.strategies import binary, dictionaries, integers, text

from medvit.io.decoding.messages import (
    MOST_HEAD_BYTES,
    BrokenMessageError,
    read_message,
    write_message,
)


class Trickle(io.RawIOBase):
    """Bytes that come and go a few at a time, as in a pipe."""

    def __init__(self, content: bytes = b"", *, step: int) -> None:
        self.content = bytearray(content)
        self._step = step

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self.content[: min(self._step, len(buffer))]
        buffer[: len(part)] = part
        del self.content[: len(part)]
        return len(part)

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        self.content += data[: self._step]
        return min(self._step, len(data))


@given(
    head=dictionaries(text(max_size=9), text(max_size=9) | integers(), max_size=4),
    body=binary(max_size=99),
    step=integers(1, 40),
)
def test_what_is_written_is_read(head: dict[str, object], body: bytes, step: int) -> None:
    pipe = Trickle(step=step)
    write_message(pipe, head, body)
    write_message(pipe, {"next": 1})
    assert read_message(pipe, most_bytes=99) == (head, bytearray(body))
    assert read_message(pipe, most_bytes=0) == ({"next": 1}, bytearray())


@given(raw=binary(max_size=64))
def test_no_bytes_at_all_lead_astray(raw: bytes) -> None:
    try:
        head, body = read_message(Trickle(raw, step=7), most_bytes=16)
    except (EOFError, BrokenMessageError):
        return
    assert isinstance(head, dict)
    assert len(body) <= 16


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (struct.pack(">LQ", 2, 17) + b"{}", "claims 2 and 17 bytes, at most 16"),
        (struct.pack(">LQ", MOST_HEAD_BYTES + 1, 0), "claims 65537"),
        (struct.pack(">LQ", 2, 0) + b"[]", "a list, not an object"),
        (struct.pack(">LQ", 3, 0) + b"{,}", "no JSON"),
        (struct.pack(">LQ", 20_000, 0) + b"[" * 20_000, "no JSON"),
    ],
)
def test_a_message_out_of_form_is_named(raw: bytes, words: str) -> None:
    with pytest.raises(BrokenMessageError, match=words):
        read_message(Trickle(raw, step=4096), most_bytes=16)


def test_an_end_within_a_message_is_told() -> None:
    with pytest.raises(EOFError, match="ended 3 bytes before"):
        read_message(Trickle(struct.pack(">LQ", 5, 0) + b"{}", step=99), most_bytes=0)


def test_a_head_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match=r"at most 65536 can be sent"):
        write_message(Trickle(step=99), {"path": "a" * MOST_HEAD_BYTES})
