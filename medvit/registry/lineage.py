"""Which cases a model was trained on, as hashes: enough to find a leak, too little to find a case.

`trained_on.csv` of a version lists `kind,sha256`: the decoded pixels of an image or the UID of
a series (`case`), and the name of a part or patient (`group`). What its parents were trained on
counts too.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medvit.errors import ModelError
from medvit.io.readers import read_image
from medvit.models.card import read_card
from medvit.registry.registry import SHIPPED, ModelVersion, list_models

TRAINED_ON_FILE = "trained_on.csv"
HEADER = ["kind", "sha256"]
MARK_LENGTH = 32
"""Hexadecimal digits that are kept: 128 bits."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody was trained on.

    Attributes:
        cases: Marks of images or series.
        groups: Marks of parts or patients.
        looks: Statistics of their features, as `medvit.trust.ood` writes them; empty for none.
    """

    cases: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    looks: bytes = b""

    def __or__(self, other: Seen) -> Seen:
        """Return what either saw."""
        return Seen(self.cases | other.cases, self.groups | other.groups)


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a model and its parents were trained on.

    Attributes:
        seen: As far as it is known.
        unknown: Models, itself or parents, that do not tell.
    """

    seen: Seen
    unknown: tuple[str, ...]


def mark_of(text: str | bytes) -> str:
    """Return the mark of a name, or of bytes.

    Examples:
        >>> mark_of("1.2.3")
        'c47f5b18b8a430e698b9fe15e51f6119'
    """
    content = text.encode() if isinstance(text, str) else text
    return hashlib.sha256(content).hexdigest()[:MARK_LENGTH]


def image_mark(file: Path) -> str:
    """Return the mark of an image: of what it shows, whatever the file's format.

    Raises:
        ReadError: If it cannot be decoded.
    """
    pixels = read_image(file, isolated=False).pixels  # (h, w, 3), 0..1
    levels = np.round(pixels * 255).astype(np.uint8)
    return mark_of(repr(levels.shape).encode() + levels.tobytes())


def seen_images(root: Path, images: Iterable[tuple[str, str]]) -> Seen:
    """Return the marks of images.

    Args:
        root: What paths are relative to.
        images: Path and group of each; an empty group is none.
    """
    pairs = list(images)
    cases = frozenset(image_mark(root / path) for path, _ in pairs)
    return Seen(cases, frozenset(mark_of(group) for _, group in pairs if group))


def seen_scans(scans: Iterable[tuple[str, str]]) -> Seen:
    """Return the marks of scans.

    Args:
        scans: Series and patient of each; an empty patient is none.
    """
    pairs = list(scans)
    cases = frozenset(mark_of(series) for series, _ in pairs)
    return Seen(cases, frozenset(mark_of(patient) for _, patient in pairs if patient))


def seen_text(seen: Seen) -> str:
    """Return the content of `trained_on.csv`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(("case", mark) for mark in sorted(seen.cases))
    writer.writerows(("group", mark) for mark in sorted(seen.groups))
    return stream.getvalue()


def read_seen(folder: Path) -> Seen | None:
    """Return what a version was trained on; None where it does not tell.

    Raises:
        ModelError: If the file is none of ours; names the line.
    """
    file = folder / TRAINED_ON_FILE
    if not file.is_file():
        return None
    found: dict[str, set[str]] = {"case": set(), "group": set()}
    for number, row in enumerate(csv.reader(file.read_text("utf-8").splitlines()), start=1):
        if number == 1 and row == HEADER:
            continue
        if number == 1 or len(row) != 2 or row[0] not in found or len(row[1]) != MARK_LENGTH:
            msg = f"{file}, line {number}: kind,sha256 is expected, got {','.join(row)!r}"
            raise ModelError(msg, hint="the file was altered; see `medvit models verify`")
        found[row[0]].add(row[1])
    return Seen(frozenset(found["case"]), frozenset(found["group"]))


def lineage_of(
    version: ModelVersion, models: Path | None = None, *, shipped: Path = SHIPPED
) -> Lineage:
    """Return what a model and its parents were trained on.

    Args:
        version: The model.
        models: Where its parents lie; by default where it lies itself, if in a workspace.
    """
    if models is None and shipped not in version.folder.parents:
        models = version.folder.parent.parent
    known = {each.reference: each for each in list_models(models, shipped=shipped)}
    return _walk(version, known, done=set())


def _walk(version: ModelVersion, known: dict[str, ModelVersion], *, done: set[str]) -> Lineage:
    own = read_seen(version.folder)
    card = read_card(version.folder)
    done.add(card.reference)
    seen = own or Seen()
    # A backbone never saw a label, so it has nothing to tell.
    unknown = [] if own is not None or card.task == "backbone" else [card.reference]
    for reference in _others(card.parents, done):
        parent = known.get(reference)
        if parent is None:
            done.add(reference)
            unknown.append(reference)
            continue
        line = _walk(parent, known, done=done)
        seen, unknown = seen | line.seen, [*unknown, *line.unknown]
    return Lineage(seen, tuple(unknown))


def _others(parents: Sequence[str], done: set[str]) -> list[str]:
    return [reference for reference in parents if reference not in done]
