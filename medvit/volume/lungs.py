"""Where the lungs are: a coarse classical mask that says which tiles are worth a look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.geometry import Affine
from medvit.volume.morphology import (
    Mask,
    close,
    dilate,
    fill_slices,
    largest_component,
    open_slices,
)
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid
from medvit.volume.slabs import iter_slabs
from medvit.volume.volume import AIR_HU, Volume

CoarseHu = NDArray[np.int16]

COARSE_MM = 3.0
BODY_HU, GAS_HU, MOST_HU = -500.0, -400.0, 3071.0
OUTSIDE_AIR_HU = -950.0
"""Air of a slice that touches its border and is emptier than this lies outside."""

CLOSING_MM = 12.0
SEARCH_CLOSING_MM, MARGIN_MM = 20.0, 5.0
"""Closing by 12 mm leaves the centre of a 40 mm mass at the hilum outside."""

PART_ML, PART_CM2 = 100.0, 2.0
"""A lung has 100 ml, or in a scan of a few slices 2 cm2 of mean cross-section."""

PARTIAL_MM = 100.0
PART_HU = (-960.0, -500.0)
"""Median of a lung; gas in a gut or a sinus is emptier."""

HOLE_CM2 = 40.0
"""Larger holes in a slice of one lung are no nodule."""

LUNGS_HU = (-950.0, -600.0)
LUNGS_L = (0.5, 9.0)
NO_LUNGS, LUNGS_UNSURE = "no_lungs", "lungs_unsure"


@dataclass(frozen=True, slots=True)
class LungMap:
    """The lungs of a scan on a coarse grid.

    Attributes:
        mask: (z, y, x) lungs with their vessels and attached nodules; empty when
            there are none.
        search: Where nodules are looked for: as `mask`, with masses at the hilum; the
            body at that height when the lungs are not as lungs are.
        affine_lps: 4x4, maps (z, y, x, 1) of the mask to (x, y, z, 1) in LPS mm.
        spacing_mm: Edge of a mask voxel.
        volume_l: Litres of air-filled lung; 0 when there is none.
        mean_hu: Mean of that air-filled lung; NaN when there is none.
        reason: `no_lungs`, `lungs_unsure` or empty.
        message: What was found, in a sentence.
    """

    mask: Mask
    search: Mask
    affine_lps: Affine
    spacing_mm: float
    volume_l: float
    mean_hu: float
    reason: str
    message: str

    @property
    def flagged(self) -> bool:
        """Whether a person should look at this scan's lungs."""
        return bool(self.reason)

    def region(self, *, margin_mm: float = MARGIN_MM) -> Region:
        """Return where candidates are looked for, with a margin."""
        mask = dilate(self.search, margin_mm, spacing_mm=self.spacing_mm)
        return Region(mask, self.affine_lps)


def find_lungs(volume: Volume) -> LungMap:
    """Locate the lungs of a CT scan.

    Body above -500 HU, air inside it, trachea taken out, the largest air-filled
    parts of lung density, each closed by 12 mm so that vessels and nodules on
    the pleura are inside. Slices are read once, in slabs from bottom to top; what is
    kept is about ten bytes for each voxel of 3 mm.

    Args:
        volume: The scan, or a coarser level of its pyramid: the mask is as good from
            voxels of up to 2 mm, and cheaper.

    Returns:
        A map that is flagged, with an empty mask, when nothing looks like a lung
        (`no_lungs`); flagged, to be searched in the body at their height, when volume
        or density are not those of lungs (`lungs_unsure`).
    """
    grid = VoxelGrid.of(volume, COARSE_MM)
    hu = _read(grid)
    body = _body(hu)
    air = (hu < GAS_HU) & body
    parts = _lung_parts(air & ~_trachea(hu, body), hu)
    aerated = np.logical_or.reduce(parts) if parts else np.zeros_like(body)
    litres = float(aerated.sum()) * COARSE_MM**3 / 1e6
    mean_hu = float(hu[aerated].mean()) if parts else float("nan")
    reason, message = _judge(litres, mean_hu, height_mm=hu.shape[0] * COARSE_MM)
    mask, search = (
        _closed(parts, body, closing_mm) if parts else aerated
        for closing_mm in (CLOSING_MM, SEARCH_CLOSING_MM)
    )
    if reason == LUNGS_UNSURE:
        search = _body_around(mask, body)
    return LungMap(mask, search, grid.affine_lps, COARSE_MM, litres, mean_hu, reason, message)


def _read(grid: VoxelGrid) -> CoarseHu:
    hu = np.empty(grid.shape, dtype=np.int16)
    z, y, x = (slice(0, length) for length in grid.shape)
    for slab in iter_slabs((z, y, x), grid):
        box = grid.read(*slab)
        hu[slab] = np.rint(np.clip(box, AIR_HU, MOST_HU, out=box), out=box)
    return hu


def _body(hu: CoarseHu) -> Mask:
    """Return the patient without table: holes filled, lungs cut by the border included."""
    tissue = largest_component(open_slices(hu > BODY_HU, 1.2 * COARSE_MM, spacing_mm=COARSE_MM))
    cut = np.stack([_cut_lung(plane) for plane in hu])
    return fill_slices(tissue | cut) if tissue.any() else tissue


def _cut_lung(plane: CoarseHu) -> Mask:
    """Return air of one slice that the image border cuts and that is no outside air."""
    labels, _ = ndimage.label(plane < GAS_HU)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    cut = np.zeros(plane.shape, dtype=bool)
    for label in edge[edge > 0]:
        part = labels == label
        contact = sum(int(side.sum()) for side in (part[0], part[-1], part[:, 0], part[:, -1]))
        is_large = part.sum() * COARSE_MM**2 > 500.0
        is_compact = contact < 1.8 * np.sqrt(part.sum())
        if is_large and is_compact and np.median(plane[part]) > OUTSIDE_AIR_HU:
            cut |= part
    return cut


def _trachea(hu: CoarseHu, body: Mask) -> Mask:
    """Return the windpipe: round air near the midline, followed downwards to its fork."""
    tube = np.zeros_like(body)
    lumen = (hu < -850.0) & body
    above: Mask | None = None
    for z in range(hu.shape[0] - 1, -1, -1):
        if above is None and z < hu.shape[0] // 2:
            break
        above = _tube_section(lumen[z], body[z], above)
        if above is not None:
            tube[z] = above
    return tube


def _tube_section(lumen: Mask, body: Mask, above: Mask | None) -> Mask | None:
    """Return the tube in one slice: what continues the slice above, or a new start."""
    labels, count = ndimage.label(lumen)
    if not count:
        return None
    areas_mm2 = np.bincount(labels.ravel(), minlength=count + 1) * COARSE_MM**2
    midline = np.flatnonzero(body.any(axis=0)).mean()
    for label in range(1, count + 1):
        if not 50.0 <= areas_mm2[label] <= 600.0:
            continue
        part: Mask = labels == label
        y, x = np.nonzero(part)
        long, short = sorted([np.ptp(y) + 1, np.ptp(x) + 1], reverse=True)
        is_round = long <= 2 * short and part.sum() >= 0.6 * long * short
        is_central = abs(x.mean() - midline) * COARSE_MM < 35.0
        continues = above is not None and bool((part & above).any())
        if is_round and is_central and (continues or above is None):
            return part
    return None


def _lung_parts(air: Mask, hu: CoarseHu) -> list[Mask]:
    """Return the largest parts of lung size and density: two, or four of a partial scan."""
    labels, count = ndimage.label(air)
    height_mm = air.shape[0] * COARSE_MM
    volumes_ml = np.bincount(labels.ravel(), minlength=count + 1) * COARSE_MM**3 / 1e3
    least_ml = min(PART_ML, PART_CM2 * height_mm / 10)
    boxes = ndimage.find_objects(labels)
    lungs = [
        label
        for label in range(1, count + 1)
        if volumes_ml[label] >= least_ml
        and PART_HU[0] <= _median_hu(hu, labels, label, boxes[label - 1]) <= PART_HU[1]
    ]
    lungs.sort(key=lambda label: -volumes_ml[label])
    return [labels == label for label in lungs[: 4 if height_mm < PARTIAL_MM else 2]]


def _median_hu(
    hu: CoarseHu, labels: NDArray[np.int32], label: int, box: tuple[slice, ...]
) -> float:
    return float(np.median(hu[box][labels[box] == label]))


def _closed(parts: list[Mask], body: Mask, closing_mm: float) -> Mask:
    """Close each lung by itself, so that the mediastinum between them stays out.

    Lungs that touch are one part; the patient's midline divides it.
    """
    mask = np.zeros_like(body)
    midline = round(float(np.flatnonzero(body.any(axis=(0, 1))).mean()))
    for part in parts:
        for half in (slice(None, midline), slice(midline, None)):
            side = np.zeros_like(part)
            side[..., half] = part[..., half]
            closed = close(side, closing_mm, spacing_mm=COARSE_MM)
            mask |= fill_slices(closed, max_voxels=round(HOLE_CM2 * 100 / COARSE_MM**2))
    return mask & body


def _body_around(mask: Mask, body: Mask) -> Mask:
    """Return the body between 20 mm below and 20 mm above a mask."""
    margin = round(20.0 / COARSE_MM)
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    around = np.zeros_like(body)
    span = slice(max(0, used[0] - margin), used[-1] + margin + 1)
    around[span] = body[span]
    return around


def _judge(litres: float, mean_hu: float, *, height_mm: float) -> tuple[str, str]:
    """Return a reason code, empty if all is well, and a sentence."""
    if litres == 0.0:
        return NO_LUNGS, (
            f"no lungs found: no air-filled part of {PART_ML:g} ml and lung density "
            f"inside the body, {height_mm:g} mm of it scanned"
        )
    found = f"{litres:.2f} l of air-filled lung at a mean of {mean_hu:.0f} HU"
    least_l = LUNGS_L[0] if height_mm >= PARTIAL_MM else 0.0
    if least_l <= litres <= LUNGS_L[1] and LUNGS_HU[0] <= mean_hu <= LUNGS_HU[1]:
        return "", f"lungs found: {found}"
    return LUNGS_UNSURE, (
        f"lungs unsure: {found}, expected {least_l:g} to {LUNGS_L[1]:g} l at "
        f"{LUNGS_HU[0]:g} to {LUNGS_HU[1]:g} HU; the whole body at their height is searched"
    )
