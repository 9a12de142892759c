"""Runs the command line, and breaks it from within at a moment that a file name tells.

    python -m tests.make.breaking kill os.rename '/steel-defects/1$' retrain --json

A moment is the first event of Python's own audit (`os.rename` by where to, `open` by what) whose
path matches. Deeds: `kill` this process at once; `fill=FOLDER`, the disk of a folder to the last
byte; `stop-growth`: no file may grow any more, as where a quota is used up.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BALLAST = "ballast"
BLOCKS = (1 << 20, 1 << 12, 1)
Process = subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a command is broken: an event, and how the path it is about ends."""

    event: str
    path: str


def start(words: Sequence[str], *, deed: str = "", at: Moment | None = None) -> Process:
    """Start the command line as a process of its own, to be broken at a moment or not."""
    broken = ["tests.make.breaking", deed, at.event, at.path] if at else ["apps.cli"]
    command = [sys.executable, "-m", *broken, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fill(folder: Path) -> None:
    """Write ballast until the disk takes no more; `BALLAST` is to be removed to make room."""
    for size in BLOCKS:
        try:
            with (folder / BALLAST).open("ab", buffering=0) as stream:
                while stream.write(bytes(size)):
                    pass
        except OSError as error:
            print(f"filled: {error.strerror}", file=sys.stderr)


def stop_growth() -> None:
    """Let the system refuse every byte behind the end of a file from now on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def do_at(moment: Moment, deed: Callable[[], None]) -> None:
    """Do something once, the first time that a moment comes."""
    waiting = [deed]

    def look(event: str, values: tuple[object, ...]) -> None:
        if event == moment.event and waiting:
            path = str(values[1 if event == "os.rename" else 0])
            if re.search(moment.path, path):
                waiting.pop()()

    sys.addaudithook(look)


def _deed(name: str) -> Callable[[], None]:
    kind, _, folder = name.partition("=")
    deeds: dict[str, Callable[[], None]] = {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "fill": lambda: fill(Path(folder)),
        "stop-growth": stop_growth,
    }
    return deeds[kind]


if __name__ == "__main__":
    from apps.cli.__main__ import main

    named, event, path, *words = sys.argv[1:]
    do_at(Moment(event, path), _deed(named))
    main(words)
