"""Annotated scans as backgrounds of a training: what takes long to find is found once."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medvit.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from medvit.data.annotated import AnnotatedScan
    from medvit.data.crop_augmentation import Rows
    from medvit.data.nodule_crops import Background
    from medvit.data.patches import CaseGrid, OpenCases
    from medvit.volume.volume import Volume

KEPT_VERSION = 1
"""Part of the key of kept files; raised when they would come out differently."""

_log = logging.getLogger(__name__)


def annotated_backgrounds(
    scans: Sequence[AnnotatedScan],
    cases: OpenCases,
    *,
    first: int,
    spacing_mm: float,
    insertion_share: float,
    folder: Path,
) -> list[Background]:
    """Return the scans in which lungs are found, as backgrounds that hold next to nothing.

    Args:
        scans: In the order of `cases`.
        cases: Of the training.
        first: Number of the first scan among `cases`.
        spacing_mm: Side of a voxel.
        insertion_share: Share of crops that get nodules put in.
        folder: Keeps masks and figures of each scan; a training that starts again reads them.
    """
    found = []
    for number, scan in enumerate(scans):
        try:
            found.append(_background(cases, first + number, scan, spacing_mm, folder))
        except InputError as error:
            _log.warning("%s is left out of the training: %s", scan.name, error.message)
        if (number + 1) % 50 == 0:
            _log.info("lungs of %d of %d annotated scans are known", number + 1, len(scans))
    return [_with_share(background, insertion_share) for background in found]


def _with_share(background: Background, insertion_share: float) -> Background:
    from dataclasses import replace

    return replace(background, insertion_share=insertion_share)


def _background(
    cases: OpenCases, number: int, scan: AnnotatedScan, spacing_mm: float, folder: Path
) -> Background:
    """Return a scan as a background; its lungs are found unless that was done before."""
    from medvit.data.nodule_crops import Background
    from medvit.data.packed_mask import KeptMask
    from medvit.data.patches import CaseGrid, Part

    on = CaseGrid(cases, number, spacing_mm)
    figures = folder / f"{_key(scan, on)}.json"
    if not figures.is_file():
        _keep(cases.volume(number), on, figures)
    kept = json.loads(figures.read_text(encoding="utf-8"))
    z, y, x = kept["shape"]
    start = tuple(kept["start"])
    psf_z_mm, psf_y_mm, psf_x_mm = kept["psf_fwhm_mm"]
    return Background(
        voxels=Part(on, start, (z, y, x)),
        lungs=KeptMask(figures.with_suffix(".npy"), (z, y, x)),
        spacing_mm=spacing_mm,
        psf_fwhm_mm=(psf_z_mm, psf_y_mm, psf_x_mm),
        noise_sd_hu=kept["noise_sd_hu"],
        ignored=_rows(scan.ignored, on, start),
        nodules=_rows(scan.nodules, on, start),
    )


def _keep(volume: Volume, on: CaseGrid, figures: Path) -> None:
    """Write what a background needs; the figures last, so what has them is whole."""
    import numpy as np

    from medvit import atomic
    from medvit.data.backgrounds import scan_background
    from medvit.data.packed_mask import PackedMask
    from medvit.data.patches import Part

    made = scan_background(volume, (), on=on)
    part, lungs = made.voxels, made.lungs
    if not (isinstance(part, Part) and isinstance(lungs, PackedMask)):
        msg = f"a scan is cut to its lungs, got {type(part).__name__}, {type(lungs).__name__}"
        raise TypeError(msg)
    content = io.BytesIO()
    np.save(content, lungs.bits)
    figures.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(figures.with_suffix(".npy"), content.getvalue())
    kept = {
        "start": part.start,
        "shape": part.shape,
        "psf_fwhm_mm": made.psf_fwhm_mm,
        "noise_sd_hu": made.noise_sd_hu,
    }
    atomic.write_text(figures, json.dumps(kept))


def _key(scan: AnnotatedScan, on: CaseGrid) -> str:
    """Return a name that says nothing about the patient."""
    identity = (KEPT_VERSION, scan.name, on.shape, on.affine_lps.round(4).tolist())
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:32]


def _rows(marks_xyzd_mm: np.ndarray, on: CaseGrid, start: Sequence[int]) -> Rows:
    """Return LPS marks in voxels of a part of a grid."""
    import numpy as np

    from medvit.data.annotated import UNMEASURED_DIAMETER_MM
    from medvit.geometry import lps_to_index

    rows = np.zeros((len(marks_xyzd_mm), 4), np.float32)
    if len(rows):
        rows[:, :3] = lps_to_index(on.affine_lps, marks_xyzd_mm[:, :3]) - np.array(start)
        diameters = marks_xyzd_mm[:, 3]
        rows[:, 3] = np.where(diameters > 0, diameters, UNMEASURED_DIAMETER_MM)
    return rows
