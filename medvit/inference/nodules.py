"""Volume -> Tile* -> centre maps -> nodules in patient space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.data.nodule_crops import scale_hu
from medvit.errors import ModelError
from medvit.geometry import index_to_lps, lps_to_index
from medvit.inference.nms import suppress_near
from medvit.models.heads.centre import CentreMaps
from medvit.tiles.grid import Box, Tile, iter_tiles
from medvit.volume.lungs import LungMap, find_lungs
from medvit.volume.region import Region
from medvit.volume.resample import IsotropicGrid
from medvit.volume.volume import Hu, Volume

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]

CORE_SLACK_VOXELS = 2.0
"""A centre that two tiles place on either side of their border is kept by both, then merged."""

DIAMETERS_MM = (1.0, 100.0)
MOST_CANDIDATES = 5000
"""A model that cries everywhere must not stop a scan."""

LOCALISATION_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class NoduleSettings:
    """How a scan is searched.

    Attributes:
        spacing_mm: Voxel edge the network was trained with.
        tile_side: Voxels along the edge of a tile.
        overlap: Voxels that neighbouring tiles share at least.
        min_probability: Marks below it are no candidates.
        max_marks: At most so many nodules a scan, the most probable ones.
    """

    spacing_mm: float = 1.0
    tile_side: int = 96
    overlap: int = 24
    min_probability: float = 0.1
    max_marks: int = 100


@dataclass(frozen=True, slots=True)
class Nodule:
    """A nodule as the detector saw it.

    Attributes:
        centre_lps_mm: (x, y, z).
        index_zyx: Nearest voxel of the source volume.
        diameter_mm: Estimated diameter.
        probability: Score of the detector, 0 to 1.
    """

    centre_lps_mm: Triple
    index_zyx: tuple[int, int, int]
    diameter_mm: float
    probability: float


@dataclass(frozen=True, slots=True)
class NoduleScan:
    """What a search gave, and what it left out.

    Attributes:
        nodules: Best first.
        tiles: Tiles the network saw.
        tiles_without_lung: Tiles of the lungs' box that hold no lung and were skipped.
        marks_outside_lungs: Candidates dropped because they lie outside the lungs.
        marks_merged: Candidates dropped because a better one is too near.
        marks_beyond_limit: Candidates dropped because there were too many.
        reason: Reason code of the lung search, empty when the lungs are sure.
        message: What the lung search found, in a sentence.
    """

    nodules: tuple[Nodule, ...]
    tiles: int
    tiles_without_lung: int
    marks_outside_lungs: int
    marks_merged: int
    marks_beyond_limit: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Marks:
    """Candidates: centres (n, 3), diameters (n,) in mm and scores (n,)."""

    centres: Floats
    diameters_mm: Floats
    scores: Floats

    def at(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Marks:
        """Return some of them."""
        return Marks(self.centres[which], self.diameters_mm[which], self.scores[which])


def detect_nodules(
    volume: Volume,
    model: nn.Module,
    *,
    settings: NoduleSettings | None = None,
    lungs: LungMap | None = None,
    progress: Callable[[float], None] | None = None,
) -> NoduleScan:
    """Find the nodules of a CT scan, tile by tile where its lungs are.

    Args:
        volume: The scan; each tile reads only what it needs.
        model: Returns `CentreMaps` for a tile (1, 1, z, y, x); in evaluation mode.
        settings: How to search.
        lungs: Where to search, if that is known already.
        progress: Told the share that is done, 0 to 1.

    Raises:
        ValueError: If the model is in training mode.
        ModelError: If the model answers with numbers that are not finite.
    """
    settings = settings or NoduleSettings()
    if model.training:
        msg = f"{type(model).__name__} is in training mode; call .eval() before a scan"
        raise ValueError(msg)
    report = progress or _ignore
    lungs = lungs or find_lungs(volume)
    report(LOCALISATION_SHARE)
    region = lungs.region()
    grid = IsotropicGrid.of(volume, settings.spacing_mm)
    tiles, skipped = _plan(grid, region, settings)
    parts = []
    for number, tile in enumerate(tiles, start=1):
        parts.append(_search_tile(grid, tile, model, settings.min_probability))
        report(LOCALISATION_SHARE + (1 - LOCALISATION_SHARE) * number / len(tiles))
    joined = _joined(parts)
    found = _in_patient(_best(joined), grid)
    inside = found.at(region.contains(found.centres))
    kept = inside.at(suppress_near(inside.centres, inside.diameters_mm, inside.scores))
    nodules = _one_a_voxel(kept, volume)
    return NoduleScan(
        nodules=nodules[: settings.max_marks],
        tiles=len(tiles),
        tiles_without_lung=skipped,
        marks_outside_lungs=len(found.scores) - len(inside.scores),
        marks_merged=len(inside.scores) - len(nodules),
        marks_beyond_limit=len(joined.scores)
        - len(found.scores)
        + max(0, len(nodules) - settings.max_marks),
        reason=lungs.reason,
        message=lungs.message,
    )


def _ignore(_share: float) -> None:
    """Take no notice of progress."""


def _plan(grid: IsotropicGrid, region: Region, settings: NoduleSettings) -> tuple[list[Tile], int]:
    """Return the tiles whose core holds lung, and how many others the box has."""
    box = region.box_on(grid)
    if box is None:
        return [], 0
    skipped = 0

    def holds_lung(core: Box) -> bool:
        nonlocal skipped
        touches = region.touches(core, on=grid)
        skipped += not touches
        return touches

    side, overlap = settings.tile_side, settings.overlap
    return list(iter_tiles(box, side=side, overlap=overlap, keep=holds_lung)), skipped


def _search_tile(
    grid: IsotropicGrid, tile: Tile, model: nn.Module, min_probability: float
) -> Marks:
    """Return the candidates of one tile, centres as grid indices (z, y, x)."""
    maps = _look(model, grid.read(*tile.box))
    stride = tile.side / maps.heat.shape[-1]
    marks = decode(maps, stride=stride, min_probability=min_probability)
    centres = marks.centres + np.array(tile.start)
    low = np.array([part.start - 0.5 for part in tile.core]) - CORE_SLACK_VOXELS
    high = np.array([part.stop - 0.5 for part in tile.core]) + CORE_SLACK_VOXELS
    is_mine = np.all((centres >= low) & (centres < high), axis=1)
    return Marks(centres, marks.diameters_mm, marks.scores).at(is_mine)


def _look(model: nn.Module, hu: Hu) -> CentreMaps:
    weights = next(model.parameters(), torch.empty(0))
    x = torch.from_numpy(scale_hu(hu))[None, None].to(weights.device)
    with torch.inference_mode():
        maps: CentreMaps = model(x)
    if not all(bool(torch.isfinite(part).all()) for part in maps):
        msg = f"{type(model).__name__} answered a tile with numbers that are not finite"
        raise ModelError(msg, hint="use another model version; `medvit models verify` checks files")
    return maps


def decode(maps: CentreMaps, *, stride: float, min_probability: float) -> Marks:
    """Return the peaks of a heat map; centres in voxels of the tile (z, y, x).

    A peak is a cell that no neighbour in 3x3x3 exceeds. See `CentreMaps` for
    where a cell's centre lies.
    """
    heat = maps.heat[0, 0].float()
    is_peak = heat == F.max_pool3d(heat[None, None], 3, stride=1, padding=1)[0, 0]
    score = torch.sigmoid(heat.double())
    cells = torch.nonzero(is_peak & (score >= min_probability))  # (n, 3)
    z, y, x = cells.unbind(1)
    offset = maps.offset[0, :, z, y, x].double().T  # (n, 3)
    log_diameter = maps.log_diameter[0, 0, z, y, x].double()
    limits = np.log(DIAMETERS_MM)
    return Marks(
        _numbers((cells + 0.5 + offset) * stride - 0.5),
        _numbers(log_diameter.clamp(limits[0], limits[1]).exp()),
        _numbers(score[z, y, x]),
    )


def _numbers(values: Tensor) -> Floats:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)


def _joined(parts: Sequence[Marks]) -> Marks:
    return Marks(
        np.concatenate([np.empty((0, 3)), *(part.centres for part in parts)]),
        np.concatenate([np.empty(0), *(part.diameters_mm for part in parts)]),
        np.concatenate([np.empty(0), *(part.scores for part in parts)]),
    )


def _best(marks: Marks) -> Marks:
    """Return the best `MOST_CANDIDATES`, in the order they came in among equals."""
    return marks.at(np.argsort(-marks.scores, kind="stable")[:MOST_CANDIDATES])


def _in_patient(marks: Marks, grid: IsotropicGrid) -> Marks:
    """Return the marks with centres in LPS mm instead of grid indices."""
    return Marks(index_to_lps(grid.affine_lps, marks.centres), marks.diameters_mm, marks.scores)


def _one_a_voxel(marks: Marks, volume: Volume) -> tuple[Nodule, ...]:
    """Return nodules, best first, the first only where two fall on one source voxel."""
    places = np.rint(lps_to_index(volume.affine_lps, marks.centres)).astype(int)
    places = np.clip(places, 0, np.array(volume.shape) - 1)
    nodules: dict[tuple[int, int, int], Nodule] = {}
    for place, centre, diameter_mm, score in zip(
        places.tolist(), marks.centres.tolist(), marks.diameters_mm, marks.scores, strict=True
    ):
        index = (place[0], place[1], place[2])
        point = (centre[0], centre[1], centre[2])
        nodules.setdefault(index, Nodule(point, index, float(diameter_mm), float(score)))
    return tuple(nodules.values())
