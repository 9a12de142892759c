"""The owner's side of the decoding process: starts it, asks it, and ends it when it must."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast

import medvit
from medvit.alarms import Alarm
from medvit.errors import MedvitError, ReadError
from medvit.io.decoding.limits import (
    DECODER_BYTES,
    STARTING_SECONDS,
    child_environment,
    seconds_for,
)
from medvit.io.decoding.messages import (
    BrokenMessageError,
    Sink,
    Source,
    read_message,
    write_message,
)

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from medvit.io.decoding.child import main; main()"
)
"""What the process runs: with our search path, so that it finds this very medvit."""


class DecoderError(MedvitError):
    """No decoding process can be started here."""

    code = "decoder"


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to decode.

    Attributes:
        name: File name, for messages.
        pixels: As declared; more of them may take longer.
        head: The kind of job under `job`, and what it needs.
        body: A codestream, or nothing.
        most_bytes: Longest answer that is believed.
    """

    name: str
    pixels: int
    head: Mapping[str, Any]
    body: bytes | bytearray
    most_bytes: int


class Decoder:
    """A process that decodes, one job at a time; started at the first one.

    A job that crashes it, hangs, or breaks the protocol ends the process; the next job
    starts a new one. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None while there is no process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process now; it starts by itself at the first job.

        Raises:
            DecoderError: If no process can be started.
        """
        with self._lock:
            self._running()

    def ask(self, job: Job) -> tuple[dict[str, Any], bytearray]:
        """Return the answer to a job.

        Raises:
            ReadError: `undecodable` or `too_large`, or as the job says.
            DecoderError: If no process can be started.
        """
        with self._lock:
            answer, body = self._answer(job)
        if answer.get("reason") == "ok":
            return answer, body
        raise _refusal(job.name, answer)

    def close(self) -> None:
        """End the process, if there is one; a later job starts another."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """Let go of a process that belongs to the process this one was forked from."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                cast("IO[bytes]", pipe).close()
            self._process.returncode = 0
            self._process = None

    def _answer(self, job: Job) -> tuple[dict[str, Any], bytearray]:
        process, seconds = self._running(), seconds_for(job.pixels)
        deadline = _Deadline(process, seconds)
        try:
            with deadline:
                write_message(_sink(process), {**job.head, "seconds": seconds}, job.body)
                answer = read_message(_source(process), most_bytes=job.most_bytes)
        except (OSError, EOFError, BrokenMessageError) as error:
            what = _what_happened(self._end(), error)
            if deadline.is_over:
                what = f"the decoder gave no answer in {seconds:.3g} s"
            raise _failed(job.name, what) from error
        except BaseException:
            # Interrupted halfway: what is left in the pipes belongs to no job.
            self._end()
            raise
        if deadline.is_over:
            self._end()
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        self._process = _start()
        return self._process

    def _end(self) -> int:
        """End and reap the process; return its exit code, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            cast("IO[bytes]", pipe).close()
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class _Deadline(Alarm):
    """Kills a process unless the block inside ends in time."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        super().__init__(seconds, self._kill)
        self._process = process
        self.is_over = False

    def _kill(self) -> None:
        self.is_over = True
        self._process.kill()


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-c", START, json.dumps(_search_path())]
    hint = "let this Python start processes, or store the files uncompressed"
    try:
        process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(os.environ),
        )
    except (OSError, ValueError) as error:
        msg = f"no decoding process can be started ({type(error).__name__})"
        raise DecoderError(msg, hint=hint) from error
    try:
        with _Deadline(process, STARTING_SECONDS):
            read_message(_source(process), most_bytes=0)
    except (OSError, EOFError, BrokenMessageError) as error:
        process.kill()
        msg = f"the decoding process ended at its start (exit code {process.wait()})"
        raise DecoderError(msg, hint="run `medvit doctor`, or install medvit anew") from error
    return process


def _search_path() -> list[str]:
    """Return where this process finds its packages, this very medvit first."""
    own = str(Path(medvit.__file__).resolve().parents[1])
    found = [path for path in sys.path if Path(path).is_absolute()]
    return found if own in found else [own, *found]


def _sink(process: subprocess.Popen[bytes]) -> Sink:
    return cast("Sink", process.stdin)


def _source(process: subprocess.Popen[bytes]) -> Source:
    return cast("Source", process.stdout)


def _what_happened(exit_code: int, error: Exception) -> str:
    if isinstance(error, BrokenMessageError):
        return "the decoder gave an answer that is none"
    if exit_code >= 0:
        return f"the decoder ended (exit code {exit_code})"
    name = next((s.name for s in signal.Signals if s == -exit_code), f"signal {-exit_code}")
    return f"the decoder crashed ({name})"


def _failed(name: str, what: str) -> ReadError:
    hint = "decompress, save or export it again with another program"
    return ReadError(f"{name}: {what}", reason="undecodable", hint=hint)


def _refusal(name: str, answer: Mapping[str, Any]) -> ReadError:
    reason = str(answer.get("reason", "undecodable"))
    if "message" in answer:
        return ReadError(str(answer["message"]), reason=reason, hint=str(answer.get("hint", "")))
    if reason == "too_large":
        msg = f"{name}: decoding needs more than {DECODER_BYTES >> 20} MiB"
        return ReadError(msg, reason=reason, hint="cut it into parts, or store it uncompressed")
    return _failed(name, f"the pixels cannot be decoded ({answer.get('detail', reason)})")


_shared = Decoder()


def decoder() -> Decoder:
    """Return the decoder that this process shares; a forked process has one of its own."""
    return _shared


def _start_anew_after_fork() -> None:
    global _shared
    inherited, _shared = _shared, Decoder()
    inherited.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_after_fork)
atexit.register(lambda: decoder().close())
