"""The decoding process: answers jobs from its standard input until that ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

from medvit.errors import ReadError
from medvit.io.decoding.codestreams import FrameJob, decode_codestream
from medvit.io.decoding.limits import DECODER_BYTES, end_this_process_after, limit_this_process
from medvit.io.decoding.messages import read_message, write_message

GRACE_SECONDS = 5.0
"""How much later than its owner the process itself ends a job that takes too long."""

Answer = tuple[dict[str, Any], bytes | bytearray | memoryview]


def main() -> None:
    """Serve jobs until the owner closes its end or dies."""
    jobs, answers = _private_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_this_process()
    write_message(answers, {"ready": os.getpid()})
    while True:
        try:
            head, body = read_message(jobs, most_bytes=DECODER_BYTES)
        except EOFError:
            return
        end_this_process_after(head["seconds"] + GRACE_SECONDS)
        answer, payload = _answer(head, body)
        write_message(answers, answer, payload)
        end_this_process_after(0)


def _private_streams() -> tuple[FileIO, FileIO]:
    """Keep the two pipes to ourselves: C libraries print to the standard ones."""
    pipes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return FileIO(pipes[0], "rb"), FileIO(pipes[1], "wb")


def _answer(head: dict[str, Any], body: bytearray) -> Answer:
    try:
        return JOBS[head["job"]](head, body)
    except ReadError as error:
        return {"reason": error.reason, "message": error.message, "hint": error.hint}, b""
    except ValueError as error:
        return {"reason": "undecodable", "detail": str(error)}, b""
    except MemoryError:
        return {"reason": "too_large"}, b""


def _frame(head: dict[str, Any], body: bytearray) -> Answer:
    job = FrameJob(**head["frame"])
    return {"reason": "ok"}, decode_codestream(job, body)


def _image(head: dict[str, Any], body: bytearray) -> Answer:
    from medvit.io.images.samples import read_samples  # noqa: PLC0415

    samples = read_samples(Path(head["path"]))
    values = samples.values
    form = {"shape": values.shape, "dtype": values.dtype.str}
    scale = {"bits": samples.bits, "full_scale": samples.full_scale}
    return {"reason": "ok", **form, **scale}, values.data


def _levels(head: dict[str, Any], body: bytearray) -> Answer:
    from medvit.io.images.tiled import write_levels  # noqa: PLC0415

    write_levels(Path(head["path"]), Path(head["folder"]))
    return {"reason": "ok"}, b""


JOBS: dict[str, Callable[[dict[str, Any], bytearray], Answer]] = {
    "frame": _frame,
    "image": _image,
    "levels": _levels,
}
