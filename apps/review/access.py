"""What the app works on: the workspace and store named by the environment."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from apps.review.provider import Provider, read_provider
from medvit.io.case import Case
from medvit.io.scratch import Scratch
from medvit.store.rows import CaseRow
from medvit.store.store import Store
from medvit.workspace import Workspace


def workspace() -> Workspace:
    """Return the workspace that `MEDVIT_WORKSPACE` and `MEDVIT_STORE` name."""
    folder = os.environ.get("MEDVIT_WORKSPACE") or "medvit-workspace"
    return Workspace(Path(folder), os.environ.get("MEDVIT_STORE", ""))


def scratch() -> Scratch:
    """Return where the readers keep what they decode or unpack."""
    return Scratch.below(workspace().cache)


def open_store() -> Store:
    """Return the store, opened once for each URL.

    Raises:
        InputError: If the workspace cannot be created.
        StoreError: If the store cannot be opened.
    """
    place = workspace()
    if not place.store:
        place.prepare()
    return _opened(place.store_url)


def provider() -> Provider | None:
    """Return how readers sign in, as the file that `MEDVIT_AUTH` names says; None without one.

    Raises:
        InputError: If the file cannot be used.
    """
    file = os.environ.get("MEDVIT_AUTH", "")
    return _read_provider(file) if file else None


@cache
def _read_provider(file: str) -> Provider:
    return read_provider(Path(file))


@cache
def _opened(url: str) -> Store:
    return Store.open(url)


def case_of(row: CaseRow) -> Case:
    """Return what the readers open, from a row of the store."""
    return Case(row.case_id, row.kind, row.source, row.root, row.files, row.series_uid)
