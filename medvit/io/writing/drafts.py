"""Files and folders that appear under their name only when they are whole and on the disk."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medvit.atomic import sync_folder


@contextmanager
def draft_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to; it takes the name when the block ends well.

    Whatever else ends the block, an interruption too, removes the draft and leaves
    what bore the name before.

    Raises:
        OSError: If the folder is missing, not writable or full.
    """
    draft = _beside(path)
    try:
        with draft.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the name, and the place of what bore it, at the end.

    Raises:
        OSError: If the folder above is missing, not writable or full.
    """
    draft = _beside(path)
    try:
        draft.mkdir()
        yield draft
        _sync_tree(draft)
        _take_the_place_of(path, draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(path.parent)


def _beside(path: Path) -> Path:
    """Return a hidden name in the same folder; searches for cases pass it over."""
    return path.with_name(f".medvit-{secrets.token_hex(8)}")


def _take_the_place_of(path: Path, draft: Path) -> None:
    if not path.exists():
        draft.rename(path)
        return
    old = _beside(path)
    path.rename(old)
    try:
        draft.rename(path)
    except BaseException:
        old.rename(path)
        raise
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))
