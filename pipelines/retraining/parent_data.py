"""The images that a champion was first trained on, where they still lie on this machine."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from medvit.data.manifest import Manifest, ManifestRow, read_manifest
from medvit.errors import ConfigError, InputError, ModelError
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines.training.config import ImageData, find_manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medvit.models.card import ModelCard

MOST_IMAGES = 500

_log = logging.getLogger(__name__)


def parent_manifest(card: ModelCard, workspace: Workspace) -> tuple[Manifest, Path] | None:
    """Return the manifest that a model or its nearest parent was trained by, and its root.

    None where the card names none, or it is not here any more.
    """
    from medvit.models.card import read_card

    data = card.training.get("data")
    if not isinstance(data, dict) or "manifest" not in data:
        for reference in card.parents:
            try:
                parent = read_card(find_model(reference, models=workspace.models).folder)
            except ModelError:
                continue
            found = parent_manifest(parent, workspace)
            if found is not None:
                return found
        return None
    try:
        settings = ImageData(manifest=data["manifest"], root=data.get("root"))
        file, root = find_manifest(settings)
        return read_manifest(file), root
    except (ConfigError, InputError, ValidationError):
        return None


def known_images(
    card: ModelCard, workspace: Workspace, *, frozen: Collection[str]
) -> NDArray[np.uint8] | None:
    """Return images of known classes that the champion was trained or calibrated on.

    Args:
        card: Of the champion.
        workspace: Holds its parents.
        frozen: SHA-256 of files that nothing may be learnt from.

    Returns:
        At most 500, in the order of the SHA-256 of their names; None where none are here.
    """
    from medvit.data.surface import load_images

    found = parent_manifest(card, workspace)
    if found is None:
        return None
    manifest, root = found
    rows = [row for row in (*manifest.of("train"), *manifest.of("val")) if _is_usable(row, card)]
    rows.sort(key=lambda row: hashlib.sha256(row.path.encode()).hexdigest())
    paths = [row.path for row in rows[:MOST_IMAGES] if _is_free(root / row.path, frozen)]
    if not paths:
        return None
    how = card.preprocessing
    _log.info("%d images of the champion's own training set the limits of new classes", len(paths))
    return load_images(
        root, paths, side_px=int(how["side_px"]), channels=how.get("channels", "grey")
    )


def _is_usable(row: ManifestRow, card: ModelCard) -> bool:
    return row.label in card.classes


def _is_free(file: Path, frozen: Collection[str]) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() not in frozen
