"""One retraining at a time in a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.one_at_a_time import holding

LOCK_FILE = "retrain.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second retraining out of a workspace for as long as this process lives.

    Raises:
        InputError: If another one is running; names its process.
    """
    hint = "wait for it; nothing was changed"
    with (
        (folder / LOCK_FILE).open("a+", encoding="ascii") as stream,
        holding(stream, task="retraining", place=f"running in {folder}", hint=hint),
    ):
        yield
