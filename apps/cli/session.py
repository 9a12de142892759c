"""What a command talks through: answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medvit.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_LINE_EVERY_S = 5.0

Advance = Callable[[float, float, str], None]
"""Called with what is done, the total, and a word on what is at hand."""


@dataclass(frozen=True, slots=True)
class Session:
    """The options that every command shares.

    Attributes:
        as_json: Whether stdout gets one JSON object and nothing else.
        quiet: Whether only errors are told.
    """

    workspace: Workspace
    as_json: bool = False
    quiet: bool = False

    def answer(self, payload: dict[str, Any], *lines: str) -> None:
        """Write the answer: the payload as JSON, or lines for people.

        Whoever reads it may leave before its end, as `head` does; the job is done all the same.
        """
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False) if self.as_json else None
        if text is None and self.quiet:
            return
        try:
            print(*([text] if text is not None else lines), sep="\n", flush=True)
        except BrokenPipeError:
            # Python writes the rest when it ends, and would tell of the same once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def note(self, line: str) -> None:
        """Tell something on the side."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def console(self) -> Console:
        """Return a rich console: stdout for an answer to people, stderr beside JSON."""
        from rich.console import Console

        return Console(stderr=self.as_json, quiet=self.quiet, highlight=False)

    @contextmanager
    def progress(self, title: str) -> Iterator[Advance]:
        """Show how far a job is: a bar on a terminal, a line now and then elsewhere."""
        if self.quiet:
            yield lambda _done, _total, _what: None
        elif sys.stderr.isatty():
            with _bar(title) as advance:
                yield advance
        else:
            yield _plain_lines(title)


def _plain_lines(title: str) -> Advance:
    last = -PLAIN_LINE_EVERY_S

    def advance(done: float, total: float, what: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PLAIN_LINE_EVERY_S:
            last = now
            print(f"{title} {done:.0f}/{total:.0f} {what}", file=sys.stderr, flush=True)

    return advance


@contextmanager
def _bar(title: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = [TextColumn(title), BarColumn(), MofNCompleteColumn(), Remaining()]
    bar = Progress(*columns, TextColumn("{task.fields[what]}"), console=Console(stderr=True))
    with bar:
        task = bar.add_task(title, total=None, what="")

        def advance(done: float, total: float, what: str) -> None:
            bar.update(task, completed=done, total=total, what=escape(what))

        yield advance
