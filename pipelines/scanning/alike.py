"""What images look like to the model of a scan is kept, for the review app to show those alike."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medvit.data.neighbours import NeighbourIndex, index_file
from medvit.errors import ReadError
from pipelines.scanning.detectors import Detector
from pipelines.scanning.journal import Entry

MOST_KEPT = 20_000
"""Images of an index: 15 MB at 192 features; those scanned last stay."""

logger = logging.getLogger(__name__)


def keep_looks(entries: Sequence[Entry], detector: Detector | None, *, folder: Path) -> None:
    """Add the images of a scan to the index of its model; a later scan replaces an earlier one.

    A folder that cannot be written costs a warning: nothing but a row of pictures hangs on it.

    Args:
        entries: Cases of the run; those without features are left out.
        detector: The model for images, if any was needed.
        folder: Of the indexes.
    """
    rows = {
        entry.result.case.case_id: np.array(entry.features, np.float32)
        for entry in entries
        if entry.features and np.isfinite(entry.features).all() and np.any(entry.features)
    }
    if detector is None or not rows:
        return
    version = detector.version
    found = NeighbourIndex.of(tuple(rows), np.stack(list(rows.values())), version.reference)
    file = index_file(folder, version.sha256)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _before(file).joined(found, most=MOST_KEPT).save(file)
    except OSError as error:
        logger.warning("images alike are not kept in %s: %s", folder, error.strerror)


def _before(file: Path) -> NeighbourIndex:
    try:
        return NeighbourIndex.load(file)
    except FileNotFoundError:
        return NeighbourIndex.empty()
    except ReadError as error:
        logger.warning("%s; it is made anew", error)
        return NeighbourIndex.empty()
