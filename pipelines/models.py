"""Keep the registry: what refers to a model, and what nothing refers to any more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from medvit.workspace import Workspace

if TYPE_CHECKING:
    from medvit.registry.sweeping import Sweep

READ_SUFFIXES = {".json", ".jsonl", ".yaml", ".csv", ".html", ".md"}
"""Of files in run folders that may name a model."""

SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
CHUNK_CHARACTERS = 1 << 22
OVERLAP_CHARACTERS = 256
"""Longer than any reference, so that none is cut in two."""


def sweep_models(workspace: Workspace, *, older_than_days: float, dry: bool) -> Sweep:
    """Remove versions that no history, run, report or row of the store refers to.

    Raises:
        ModelError: If a history was altered.
        StoreError: If there is a store, and it cannot be read.
    """
    from medvit.registry.sweeping import sweep

    referred = _referred_by_runs(workspace.folder) | _referred_by_store(workspace)
    return sweep(workspace.models, referred=referred, older_than_days=older_than_days, dry=dry)


def _referred_by_runs(folder: Path) -> set[str]:
    """Return references and hashes in all files of the workspace but its models and cache."""
    found: set[str] = set()
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.name in {"models", "cache"}:
            continue
        files = place.rglob("*") if place.is_dir() else (place,)
        for file in files:
            if file.suffix in READ_SUFFIXES and file.is_file() and not file.is_symlink():
                found |= _named_in(file)
    return found


def _named_in(file: Path) -> set[str]:
    from medvit.registry.sweeping import references_in

    found: set[str] = set()
    for text in _pieces(file):
        found |= references_in(text)
        found |= set(SHA256.findall(text))
    return found


def _pieces(file: Path) -> Iterator[str]:
    """Yield a file in pieces that overlap."""
    tail = ""
    with file.open(encoding="utf-8", errors="replace") as stream:
        while block := stream.read(CHUNK_CHARACTERS):
            yield tail + block
            tail = block[-OVERLAP_CHARACTERS:]


def _referred_by_store(workspace: Workspace) -> set[str]:
    from medvit.registry.sweeping import references_in
    from medvit.store.models_named import models_named

    url = make_url(workspace.store_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return set()
    found: set[str] = set()
    for text in models_named(workspace.store_url):
        found |= references_in(text) | set(SHA256.findall(text))
    return found
