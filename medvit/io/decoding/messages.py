"""Messages between a process and its decoder: a JSON head, then raw bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Protocol

MOST_HEAD_BYTES = 1 << 16
"""Longest head; a path of 4096 bytes, every one escaped, fits."""

_LENGTHS = struct.Struct(">LQ")

Head = Mapping[str, Any]


class BrokenMessageError(Exception):
    """Bytes that are no message, or a message that is larger than agreed."""


class Source(Protocol):
    """Where bytes come from; may give fewer than asked."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill a buffer from its start and return how far; 0 at the end."""


class Sink(Protocol):
    """Where bytes go; may take fewer than given."""

    def write(self, data: memoryview, /) -> int | None:
        """Take bytes from the start and return how many."""


def write_message(sink: Sink, head: Head, body: bytes | bytearray | memoryview = b"") -> None:
    """Write one message.

    Raises:
        OSError: If the other side is gone.
        ValueError: If the head is longer than agreed.
    """
    text = json.dumps(head).encode("ascii")
    if len(text) > MOST_HEAD_BYTES:
        msg = f"a head has {len(text)} bytes, at most {MOST_HEAD_BYTES} can be sent"
        raise ValueError(msg)
    view = memoryview(body).cast("B")
    _write_all(sink, memoryview(_LENGTHS.pack(len(text), len(view)) + text))
    _write_all(sink, view)


def read_message(source: Source, *, most_bytes: int) -> tuple[dict[str, Any], bytearray]:
    """Read one message.

    Args:
        source: Where to read from.
        most_bytes: Longest body that is believed and made room for.

    Raises:
        EOFError: If the other side ends before or within a message.
        BrokenMessageError: If the bytes are no message of agreed form.
    """
    head_bytes, body_bytes = _LENGTHS.unpack(_read_exactly(source, _LENGTHS.size))
    if head_bytes > MOST_HEAD_BYTES or body_bytes > most_bytes:
        msg = f"a message claims {head_bytes} and {body_bytes} bytes, at most {most_bytes} agreed"
        raise BrokenMessageError(msg)
    try:
        head = json.loads(_read_exactly(source, head_bytes))
    except (ValueError, RecursionError) as error:
        msg = f"the head of a message is no JSON ({type(error).__name__})"
        raise BrokenMessageError(msg) from error
    if not isinstance(head, dict):
        msg = f"the head of a message is a {type(head).__name__}, not an object"
        raise BrokenMessageError(msg)
    return head, _read_exactly(source, body_bytes)


def _write_all(sink: Sink, view: memoryview) -> None:
    while view:
        view = view[sink.write(view) or 0 :]


def _read_exactly(source: Source, count: int) -> bytearray:
    found = bytearray(count)
    rest = memoryview(found)
    while rest:
        taken = source.readinto(rest)
        if not taken:
            msg = f"the other side ended {len(rest)} bytes before the end of a message"
            raise EOFError(msg)
        rest = rest[taken:]
    return found
