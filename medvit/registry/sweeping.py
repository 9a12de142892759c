"""What a registry no longer needs: versions that nothing refers to, and drafts of crashed saves."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medvit.errors import ModelError
from medvit.models.card import DRAFT_PREFIX, read_card
from medvit.registry.history import HISTORY_FILE, read_history
from medvit.registry.locks import locked
from medvit.registry.registry import SHIPPED, ModelVersion, list_models, pinned_version
from medvit.registry.saving import share_weights

REFERENCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}@[a-z0-9][a-z0-9._-]{0,63}")
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was removed, or would be.

    Attributes:
        removed: Versions that nothing refers to.
        drafts: Folders that a save left behind when it died.
        kept: Why each of the other versions stays.
        freed_bytes: Of versions, drafts, and weights that another version has too.
    """

    removed: tuple[str, ...]
    drafts: tuple[str, ...]
    kept: Mapping[str, str]
    freed_bytes: int


def references_in(text: str) -> set[str]:
    """Return what may be a `name@version` in a text.

    Examples:
        >>> sorted(references_in("scanned with steel@3, nodule@2026.11."))
        ['nodule@2026.11', 'nodule@2026.11.', 'steel@3']
    """
    found = set(REFERENCE.findall(text))
    return found | {each.rstrip(".-_") for each in found}


def sweep(
    models: Path,
    *,
    referred: Collection[str],
    older_than_days: float,
    dry: bool,
    shipped: Path = SHIPPED,
) -> Sweep:
    """Remove versions that nothing refers to; a reference is never left without its model.

    A version stays that is or ever was in production, is the newest of its name, is a parent
    of one that stays, is named in `referred` by reference or weights, or is younger than
    `older_than_days`: what was saved a moment ago may be about to be referred to.

    Args:
        models: The workspace's `models` folder.
        referred: References and hashes in runs, reports and the store.
        older_than_days: Age from which a version may go.
        dry: Tell, and remove nothing.

    Raises:
        ModelError: If a history was altered, so that nobody knows what it refers to.
    """
    own = [each for each in list_models(models, shipped=shipped) if models in each.folder.parents]
    kept = _reasons(models, own, referred=referred, older_than_days=older_than_days)
    gone = [each for each in own if each.reference not in kept]
    drafts = [path for path in models.glob(f"*/{DRAFT_PREFIX}*") if _age_days(path) > 1]
    freed = sum(_bytes_of(each.folder) for each in gone) + sum(_bytes_of(path) for path in drafts)
    if not dry:
        for each in gone:
            _remove(models, each)
        for path in drafts:
            shutil.rmtree(path)
        stay = [each for each in own if each.reference in kept]
        freed += sum(share_weights(models, each.folder, each.sha256) for each in stay)
    names = tuple(str(path.relative_to(models)) for path in drafts)
    return Sweep(tuple(each.reference for each in gone), names, kept, freed)


def _reasons(
    models: Path,
    own: Iterable[ModelVersion],
    *,
    referred: Collection[str],
    older_than_days: float,
) -> dict[str, str]:
    """Return why versions stay, by reference."""
    kept: dict[str, str] = {}
    newest: dict[str, str] = {}
    histories: dict[str, set[str]] = {}
    versions = list(own)
    for each in versions:
        newest[each.name] = each.reference  # they come by age
    for name in newest:
        changes = read_history(models / name / HISTORY_FILE)
        histories[name] = {v for c in changes for v in (c.from_version, c.to_version)}
    for each in versions:
        if each.production:
            kept[each.reference] = "in production"
        elif each.version in histories[each.name]:
            kept[each.reference] = "was in production"
        elif each.reference in referred or each.sha256 in referred:
            kept[each.reference] = "a run, a report or the store refers to it"
        elif newest[each.name] == each.reference:
            kept[each.reference] = "the newest of its name"
        elif _age_days(each.folder) < older_than_days:
            kept[each.reference] = f"younger than {older_than_days:g} days"
    _keep_parents(versions, kept)
    return kept


def _keep_parents(versions: list[ModelVersion], kept: dict[str, str]) -> None:
    parents = {each.reference: read_card(each.folder).parents for each in versions}
    waiting = list(kept)
    while waiting:
        child = waiting.pop()
        for parent in parents.get(child, ()):
            if parent in parents and parent not in kept:
                kept[parent] = f"a parent of {child}"
                waiting.append(parent)


def _remove(models: Path, version: ModelVersion) -> None:
    """Take a version away at once: aside first, so that a crash leaves no half of it."""
    with locked(models / version.name):
        if pinned_version(models, version.name) == version.version:
            msg = f"{version.reference} was promoted meanwhile"
            raise ModelError(msg, hint="it stays; run the command again")
        aside = version.folder.with_name(f"{DRAFT_PREFIX}gone-{version.version}")
        version.folder.rename(aside)
    shutil.rmtree(aside)


def _age_days(folder: Path) -> float:
    return (time.time() - folder.stat().st_mtime) / DAY_S


def _bytes_of(folder: Path) -> int:
    """Return what a folder alone holds; weights with another name elsewhere stay."""
    files = [file.stat() for file in folder.iterdir() if file.is_file()]
    return sum(each.st_size for each in files if each.st_nlink == 1)
