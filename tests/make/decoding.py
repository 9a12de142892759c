"""Jobs for the decoding process: sound ones, and one that crashes it for real."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from medvit.io.decoding.codestreams import FrameJob
from medvit.io.decoding.process import Job
from tests.make.frames import Cells, jpeg_lossless

SIDE = 16
CELLS = Cells(16)
VALUES = CELLS.values(side=SIDE)
SOUND_STREAM = jpeg_lossless(VALUES[0], CELLS)
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"


def frame_job(
    stream: bytes = SOUND_STREAM,
    *,
    codec: str = "gdcm",
    side: int = SIDE,
    most_bytes: int | None = None,
) -> Job:
    """Return the job of decoding a square frame of 16 bits."""
    frame = FrameJob(codec, JPEG_LOSSLESS, side, side, 16)
    return Job(
        name="a.dcm",
        pixels=side * side,
        head={"job": "frame", "frame": asdict(frame)},
        body=stream,
        most_bytes=frame.frame_bytes if most_bytes is None else most_bytes,
    )


def crashing_stream() -> bytes:
    """Return a codestream without its Huffman table: GDCM 3.2 ends its process over it."""
    table = SOUND_STREAM.index(b"\xff\xc4")
    return SOUND_STREAM[:table] + b"\xaa" + SOUND_STREAM[table + 1 :]


def is_running(pid: int) -> bool:
    """Return whether a process is there and not merely waiting to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
