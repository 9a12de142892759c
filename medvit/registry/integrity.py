"""Is the registry as it was written? Files against their hashes, histories against their seals."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from medvit.errors import ModelError
from medvit.models.card import (
    CARD_FILE,
    LOOKS_FILE,
    SUMS_FILE,
    WEIGHTS_FILE,
    file_sha256,
    read_card,
)
from medvit.registry.history import HISTORY_FILE, read_history
from medvit.registry.index import read_index
from medvit.registry.production import pointer_fault
from medvit.registry.registry import POINTER, SHIPPED, list_models


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is not as it was written.

    Attributes:
        model: `name@version`, or a name whose history it is.
        file: Which one.
        message: What is wrong with it.
    """

    model: str
    file: Path
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found.

    Attributes:
        models: References of the versions whose files were hashed.
        faults: Nothing if all is well.
    """

    models: tuple[str, ...]
    faults: tuple[Fault, ...]


def verify(models: Path, reference: str | None = None, *, shipped: Path = SHIPPED) -> Checked:
    """Hash the files of every version, of all versions of a name, or of `name@version`.

    Raises:
        ModelError: If there is no such model.
    """
    name, _, version = (reference or "").partition("@")
    chosen = _folders(models, name, version, shipped=shipped)
    if not chosen and reference:
        msg = f"there is no model {reference!r}"
        offered = ", ".join(sorted(_folders(models, "", "", shipped=shipped))) or "none"
        raise ModelError(msg, hint=f"known models: {offered}")
    faults = [fault for known_as, folder in chosen.items() for fault in _faults(known_as, folder)]
    names = {known_as.partition("@")[0] for known_as in chosen}
    names |= set() if name else {file.parent.name for file in models.glob(f"*/{POINTER}")}
    ours = {f"{card.name}@{card.version}" for card in map(read_card, _shipped(shipped))}
    for each in sorted(names):
        faults += _of_production(models / each, ours)
    return Checked(tuple(chosen), tuple(faults))


def _folders(models: Path, name: str, version: str, *, shipped: Path) -> dict[str, Path]:
    """Return the folders that a name, a name and a version, or nothing asks for."""
    own = models / name / version
    if version and (own / CARD_FILE).is_file():
        return {f"{name}@{version}": own}
    known = {each.reference: each.folder for each in list_models(models, shipped=shipped)}
    known |= {
        f"{entry.name}@{entry.version}": models / entry.folder
        for entry in read_index(models)
        if entry.fault
    }
    wanted = f"{name}@{version}"
    if version:
        return {each: folder for each, folder in known.items() if each == wanted}
    return {each: folder for each, folder in known.items() if not name or each.startswith(wanted)}


def _shipped(shipped: Path) -> list[Path]:
    return [file.parent for file in shipped.glob(f"*/{CARD_FILE}")]


def _faults(known_as: str, folder: Path) -> Iterator[Fault]:
    expected: dict[str, str] = {}
    sums = folder / SUMS_FILE
    try:
        card = read_card(folder)
        expected = {WEIGHTS_FILE: card.weights_sha256}
        expected |= {LOOKS_FILE: card.ood["sha256"]} if card.ood else {}
    except ModelError as error:
        if not sums.is_file():
            yield Fault(known_as, folder / CARD_FILE, error.message)
    if sums.is_file():
        lines = [line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines()]
        if any(len(line) != 2 for line in lines):
            yield Fault(known_as, sums, "a line is not `hash  name`")
        listed = {line[1]: line[0] for line in lines if len(line) == 2}
        if expected and listed.get(WEIGHTS_FILE) != expected[WEIGHTS_FILE]:
            yield Fault(known_as, sums, "names other weights than the card")
        expected = listed | expected
    for name, sha256 in sorted(expected.items()):
        file = folder / name
        found = file_sha256(file) if file.is_file() else "missing"
        if found != sha256:
            yield Fault(known_as, file, f"sha256 is {found[:12]}, written was {sha256[:12]}")


def _of_production(folder: Path, shipped: Collection[str]) -> Iterator[Fault]:
    """Check what a name means, and how it came to that."""
    try:
        changes = read_history(folder / HISTORY_FILE)
    except ModelError as error:
        yield Fault(folder.name, folder / HISTORY_FILE, error.message)
        return
    fault = pointer_fault(folder, changes)
    if fault:
        yield Fault(folder.name, folder / POINTER, fault)
    serving = changes[-1].to_version if changes else ""
    is_there = (folder / serving / CARD_FILE).is_file() or f"{folder.name}@{serving}" in shipped
    if changes and not is_there:
        message = f"{serving} is in production, but its folder is gone"
        yield Fault(folder.name, folder / POINTER, message)
