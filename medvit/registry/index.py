"""What a `models` folder holds, without reading every card each time.

`.index.json` keeps what was read of each card with the card's time, size and inode. Whatever
does not match is read anew, so the file may be deleted, or be older than the folder. A few
cards are read faster than the whole file is written, so it is written when a share changed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.errors import ModelError
from medvit.models.card import CARD_FILE, figures_of, read_card

INDEX_FILE = ".index.json"
LAYOUT = 2
"""Of the file; another one is not read."""

STALE_SHARE = 0.01
"""Share of the versions that may have changed before the file is written anew."""

Stamp = list[int]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is told of a version.

    Attributes:
        folder: Relative to the `models` folder.
        name: As its card says.
        version: Likewise.
        task: Likewise.
        sha256: Of its weights.
        metrics: Figures on cases not trained on, without their curves.
        stamp: Time in ns, size and inode of the card.
        fault: Why the card cannot be read; empty if it can.
    """

    folder: str
    name: str
    version: str
    task: str
    sha256: str
    metrics: dict[str, Any]
    stamp: Stamp
    fault: str = ""


def read_index(models: Path) -> tuple[Entry, ...]:
    """Return every version of a folder, the oldest first; those with a broken card have a fault."""
    known = _read(models / INDEX_FILE)
    entries, stale = [], 0
    for folder, stamp in _cards(models):
        entry = known.pop(folder, None)
        if entry is None or entry.stamp != stamp:
            entry, stale = _entry(models, folder, stamp), stale + 1
        entries.append(entry)
    entries.sort(key=lambda entry: (entry.stamp[0], entry.folder))
    if stale + len(known) > STALE_SHARE * len(entries):
        _write(models / INDEX_FILE, entries)
    return tuple(entries)


def _cards(models: Path) -> Iterator[tuple[str, Stamp]]:
    """Yield folder and stamp of every card; text in place of paths, for there are many."""
    for name in _folders(str(models)):
        for version in _folders(f"{models}/{name}"):
            try:
                found = os.stat(f"{models}/{name}/{version}/{CARD_FILE}")  # noqa: PTH116 - 3x faster
            except OSError:  # no model, or one that was removed just now
                continue
            yield f"{name}/{version}", [found.st_mtime_ns, found.st_size, found.st_ino]


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [each.name for each in entries if each.name[0] != "." and each.is_dir()]
    except FileNotFoundError:
        return []


def _entry(models: Path, folder: str, stamp: Stamp) -> Entry:
    try:
        card = read_card(models / folder)
    except ModelError as error:
        name, _, version = folder.partition("/")
        return Entry(folder, name, version, "", "", {}, stamp, fault=error.message)
    return Entry(
        folder, card.name, card.version, card.task, card.weights_sha256, figures_of(card), stamp
    )


def _read(file: Path) -> dict[str, Entry]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["layout"] != LAYOUT:
            return {}
        return {each["folder"]: Entry(**each) for each in values["versions"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.info("%s is made anew: %s", file.name, error)
        return {}


def _write(file: Path, entries: list[Entry]) -> None:
    names = [field.name for field in fields(Entry)]
    rows = [{name: getattr(each, name) for name in names} for each in entries]
    text = json.dumps({"layout": LAYOUT, "versions": rows})
    try:
        atomic.write_bytes(file, text.encode(), must_last=False)
    except OSError as error:  # a folder that may only be read is listed all the same
        _log.info("%s is not kept: %s", file.name, error.strerror)
