"""How a trained network becomes the next version of a name."""

from __future__ import annotations

import filecmp
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from medvit.errors import ModelError
from medvit.models.card import LOOKS_FILE
from medvit.models.weights import WEIGHTS_FILE, ModelCard, save_model
from medvit.registry.index import read_index
from medvit.registry.lineage import TRAINED_ON_FILE, Seen, seen_text
from medvit.registry.registry import README, version_folder

_log = logging.getLogger(__name__)


def save_version(
    models: Path,
    module: nn.Module,
    *,
    name: str,
    card: Mapping[str, Any],
    readme: str,
    seen: Seen | None = None,
) -> ModelCard:
    """Save a network as the next free version of a name, whole or not at all.

    Two processes that save at the same time get two versions. Weights that another version
    has too take no further space.

    Args:
        models: The workspace's `models` folder.
        module: The network.
        name: Of the model.
        card: Fields of `ModelCard` besides name and version.
        readme: The card for people; `{reference}` is filled in.
        seen: What it was trained on.

    Raises:
        ModelError: If it cannot be written.
    """
    texts: dict[str, str | bytes] = {README: readme}
    if seen is not None:
        texts[TRAINED_ON_FILE] = seen_text(seen)
    if seen is not None and seen.looks:
        texts[LOOKS_FILE] = seen.looks
    for folder in version_folder(models, name):
        fields = ModelCard.model_validate({"name": name, "version": folder.name, **card})
        try:
            saved = save_model(folder, module, fields, texts=texts)
        except ModelError:
            if folder.exists():  # somebody else took the number meanwhile
                continue
            raise
        share_weights(models, folder, saved.weights_sha256)
        return saved
    raise AssertionError  # numbers never end


def share_weights(models: Path, folder: Path, sha256: str) -> int:
    """Make a version's weights one file with equal weights of an older version.

    Both stay where they are: one content, two names.

    Returns:
        Bytes that were saved.
    """
    own = folder / WEIGHTS_FILE
    for entry in read_index(models):
        other = models / entry.folder / WEIGHTS_FILE
        if entry.sha256 != sha256 or other == own or not other.is_file():
            continue
        if other.samefile(own):
            return 0
        if filecmp.cmp(own, other, shallow=False):
            return _link(own, other)
    return 0


def _link(own: Path, other: Path) -> int:
    """Replace a file by a hard link to an equal one, where the file system has them."""
    draft = own.with_name(f".{own.name}-{os.getpid()}")
    size = own.stat().st_size
    try:
        draft.hardlink_to(other)
        draft.replace(own)
    except OSError as error:
        draft.unlink(missing_ok=True)
        _log.info("%s keeps its own weights: %s", own.parent.name, error.strerror)
        return 0
    return size
