"""Is the registry as it was written? Files against their hashes, histories against their seals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medvit.errors import ModelError
from medvit.models.card import CARD_FILE, SUMS_FILE, WEIGHTS_FILE, file_sha256, read_card
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
    broken = [entry for entry in read_index(models) if entry.fault]
    known = [(each.reference, each.folder) for each in list_models(models, shipped=shipped)]
    known += [(f"{entry.name}@{entry.version}", models / entry.folder) for entry in broken]
    chosen = [
        (known_as, folder)
        for known_as, folder in known
        if not name or known_as == reference or (not version and known_as.startswith(f"{name}@"))
    ]
    if not chosen and reference:
        msg = f"there is no model {reference!r}"
        offered = ", ".join(sorted({known_as for known_as, _ in known})) or "none"
        raise ModelError(msg, hint=f"known models: {offered}")
    faults = [fault for known_as, folder in chosen for fault in _faults(known_as, folder)]
    versions: dict[str, set[str]] = {}
    for known_as, _ in known:
        own, _, number = known_as.partition("@")
        versions.setdefault(own, set()).add(number)
    names = {known_as.partition("@")[0] for known_as, _ in chosen}
    names |= set() if name else {file.parent.name for file in models.glob(f"*/{POINTER}")}
    for each in sorted(names):
        faults += _of_production(models / each, versions.get(each, set()))
    return Checked(tuple(known_as for known_as, _ in chosen), tuple(faults))


def _faults(known_as: str, folder: Path) -> Iterator[Fault]:
    expected, sums = {}, folder / SUMS_FILE
    try:
        expected[WEIGHTS_FILE] = read_card(folder).weights_sha256
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


def _of_production(folder: Path, versions: set[str]) -> Iterator[Fault]:
    """Check what a name means, and how it came to that."""
    try:
        changes = read_history(folder / HISTORY_FILE)
    except ModelError as error:
        yield Fault(folder.name, folder / HISTORY_FILE, error.message)
        return
    fault = pointer_fault(folder, changes)
    if fault:
        yield Fault(folder.name, folder / POINTER, fault)
    if changes and changes[-1].to_version not in versions:
        message = f"{changes[-1].to_version} is in production, but its folder is gone"
        yield Fault(folder.name, folder / POINTER, message)
