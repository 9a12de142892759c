"""A walk through a folder that meets each file once and survives links and locked doors."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from medvit.io.sniff import is_junk


@dataclass(frozen=True, slots=True)
class _Folder:
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    linked: tuple[Path, ...]


def iter_files(
    root: Path, *, is_whole: Callable[[Path], bool] = lambda _folder: False
) -> Iterator[Path]:
    """Yield every file below a folder, without hidden files and system junk.

    A folder that `is_whole` is yielded itself and not entered.

    Real folders come before linked ones, and every real folder is entered once, so
    that a cycle of links ends. A link to a folder that holds `root` is not followed.
    Pipes, sockets and devices are passed over. A folder that cannot be listed and a
    link that leads nowhere are yielded themselves: opening them tells why.
    """
    seen: set[tuple[int, int]] = set()
    real, linked = deque([root]), deque[Path]()
    while real or linked:
        is_link = not real
        path = linked.popleft() if is_link else real.popleft()
        try:
            if is_link and _holds(path, root):
                continue
            key = _identity(path)
            if key in seen:
                continue
            seen.add(key)
            if path != root and is_whole(path):
                yield path
                continue
            folder = _list(path)
        except OSError:
            yield path
            continue
        yield from folder.files
        real.extend(folder.folders)
        linked.extend(folder.linked)


def _identity(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino


def _holds(path: Path, root: Path) -> bool:
    return root.resolve().is_relative_to(path.resolve())


def _list(path: Path) -> _Folder:
    files: list[Path] = []
    folders: list[Path] = []
    linked: list[Path] = []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_junk(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif _leads_nowhere(entry) or entry.is_file():
                files.append(Path(entry.path))
            elif entry.is_dir():
                linked.append(Path(entry.path))
    return _Folder(tuple(files), tuple(folders), tuple(linked))


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return False
    try:
        entry.stat()
    except OSError:
        return True
    return False
