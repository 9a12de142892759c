"""Pyramid -> tiles, most promising first -> one blended map -> nodules in patient space."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from medvit.errors import ModelError
from medvit.geometry import index_to_lps, lps_to_index
from medvit.inference.flips import MirroredViews
from medvit.inference.marks import Marks
from medvit.inference.nms import suppress_near
from medvit.inference.score_map import blended_marks, marks_of_tile
from medvit.inference.tile_journal import TileJournal
from medvit.inference.tile_search import SearchMeans, TileSource
from medvit.tiles.grid import Tile, TileForm
from medvit.tiles.progressive import Effort, TilePlan, plan_tiles
from medvit.tiles.resident import release_free
from medvit.volume.blobs import find_blobs
from medvit.volume.lungs import LungMap, find_lungs
from medvit.volume.pyramid import Pyramid
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import Volume

Triple = tuple[float, float, float]

MOST_CANDIDATES = 5000
"""A model that cries everywhere must not stop a scan."""

COARSE_MM = 1.5
"""Lungs and coarse candidates are looked for on a level of the pyramid this fine or finer."""

PLANNING_SHARE, BLENDING_SHARE = 0.05, 0.02


@dataclass(frozen=True, slots=True)
class NoduleSettings:
    """What is searched; all of it may change what is found.

    Attributes:
        spacing_mm: Voxel edge the network was trained with.
        tile_side: Voxels along the edge of a tile.
        overlap: Voxels that neighbouring tiles share at least; more with effort `full`.
        effort: How much of the lungs is looked at, see `medvit.tiles.progressive`.
        min_probability: Marks below it are no candidates.
        max_marks: At most so many nodules a scan, the most probable ones.
        views: Mirrored views of each tile whose maps are averaged: 1, 2, 4 or 8. Time grows
            with them, memory does not.
    """

    spacing_mm: float = 1.0
    tile_side: int = 96
    overlap: int = 24
    effort: Effort = "balanced"
    min_probability: float = 0.1
    max_marks: int = 100
    views: int = 1


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
        tiles: Tiles the network saw, in this search or in one that it went on from.
        tiles_planned: Tiles it should have seen; more when time was up before the end.
        tiles_left_out: Tiles over the lungs that the effort did without.
        marks_outside_lungs: Candidates dropped because they lie outside the lungs.
        marks_merged: Candidates dropped because a better one is too near.
        marks_beyond_limit: Candidates dropped because there were too many.
        reason: Reason code of the lung search, empty when the lungs are sure.
        message: What the lung search found, in a sentence.
    """

    nodules: tuple[Nodule, ...]
    tiles: int
    tiles_planned: int
    tiles_left_out: int
    marks_outside_lungs: int
    marks_merged: int
    marks_beyond_limit: int
    reason: str
    message: str

    @property
    def is_partial(self) -> bool:
        """Whether time was up before all tiles had been seen."""
        return self.tiles < self.tiles_planned


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how a search goes on.

    Attributes:
        progress: Told the share that is done, 0 to 1.
        candidates: Told the nodules of each tile as it is finished; later tiles may still
            merge or drop them.
    """

    progress: Callable[[float], None] = lambda _share: None
    candidates: Callable[[Sequence[Nodule]], None] = lambda _nodules: None


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """A search on its way: where, with what, and which tiles."""

    pyramid: Pyramid
    grid: VoxelGrid
    region: Region
    plan: TilePlan
    stride: int
    settings: NoduleSettings
    means: SearchMeans


def detect_nodules(  # noqa: PLR0913
    pyramid: Pyramid,
    model: nn.Module,
    *,
    settings: NoduleSettings | None = None,
    means: SearchMeans | None = None,
    journal: TileJournal | None = None,
    lungs: LungMap | None = None,
    watch: Watch | None = None,
) -> NoduleScan:
    """Find the nodules of a CT scan: coarse first, then fine where they are to be expected.

    The tiles, and so the nodules, depend on the scan, the model and the settings alone:
    neither on `means` nor on how often a journal was gone on from.

    Args:
        pyramid: The scan; a tile reads only what it needs, from the level it needs.
        model: Returns `CentreMaps` for tiles (n, 1, z, y, x); in evaluation mode.
        settings: What to search.
        means: With what.
        journal: Keeps the maps of finished tiles, so that a later search goes on from
            them; by default a temporary one.
        lungs: Where to search, if that is known already.
        watch: Who is told how it goes.

    Raises:
        ValueError: If the model is in training mode.
        ModelError: If the model answers with numbers that are not finite.
        ReadError: If the scan cannot be read.
    """
    settings, watch = settings or NoduleSettings(), watch or Watch()
    if model.training:
        msg = f"{type(model).__name__} is in training mode; call .eval() before a scan"
        raise ValueError(msg)
    if settings.views > 1:
        model = MirroredViews(model, views=settings.views)
    coarse = pyramid.level_for(COARSE_MM)
    lungs = lungs or find_lungs(coarse)
    region = lungs.region()
    grid = VoxelGrid.of(pyramid.level_for(settings.spacing_mm), settings.spacing_mm)
    stride = _stride_of(model)
    form = TileForm(settings.tile_side, settings.overlap, align=stride)
    blobs = find_blobs(coarse, region)
    plan = plan_tiles(region, grid, blobs, effort=settings.effort, form=form)
    release_free()
    watch.progress(PLANNING_SHARE)
    search = _Search(pyramid, grid, region, plan, stride, settings, means or SearchMeans())
    with _kept(journal) as kept:
        source = TileSource(grid, model, kept)
        seen = _look_at_tiles(search, source, watch)
        blended = blended_marks(
            {tile.number: tile for tile in seen},
            source.maps_of,
            stride=stride,
            min_probability=settings.min_probability,
            most_bytes=search.means.blend_bytes,
        )
        found = _nodules_of(blended, search)
    watch.progress(1.0)
    return NoduleScan(
        nodules=found.nodules,
        tiles=len(seen),
        tiles_planned=len(plan.tiles),
        tiles_left_out=len(plan.left_out),
        marks_outside_lungs=found.outside_lungs,
        marks_merged=found.merged,
        marks_beyond_limit=found.beyond_limit,
        reason=lungs.reason,
        message=lungs.message,
    )


@contextmanager
def _kept(journal: TileJournal | None) -> Iterator[TileJournal]:
    """Yield the journal, or one that goes with the search."""
    if journal is not None:
        yield journal
        return
    with (
        tempfile.TemporaryDirectory(prefix="medvit-tiles-") as folder,
        TileJournal(Path(folder) / "tiles", key="") as temporary,
    ):
        yield temporary


def _stride_of(model: nn.Module) -> int:
    """Return the voxels on a side of a cell of the model's maps."""
    stride = model.stride
    if not isinstance(stride, int) or stride < 1:
        msg = f"the stride of {type(model).__name__} must be a number of voxels, got {stride!r}"
        raise ModelError(msg)
    return stride


def _look_at_tiles(search: _Search, source: TileSource, watch: Watch) -> list[Tile]:
    """Let the network see the tiles until all are done or time is up; return those it saw."""
    tiles = [planned.tile for planned in search.plan.tiles]
    least = search.settings.min_probability
    seen: list[Tile] = []
    with closing(source.iter_maps(tiles, search.means)) as looked:
        for tile, maps in looked:
            seen.append(tile)
            nodules = _nodules_of(
                marks_of_tile(tile, maps, stride=search.stride, min_probability=least), search
            ).nodules
            if nodules:
                watch.candidates(nodules)
            share = len(seen) / len(tiles) * (1 - PLANNING_SHARE - BLENDING_SHARE)
            watch.progress(PLANNING_SHARE + share)
            if search.means.is_time_up():
                break
    return seen


@dataclass(frozen=True, slots=True)
class _Sifted:
    """Nodules, best first, and how many candidates were dropped, by the reason."""

    nodules: tuple[Nodule, ...]
    outside_lungs: int
    merged: int
    beyond_limit: int


def _nodules_of(marks: Marks, search: _Search) -> _Sifted:
    """Return the nodules among candidates in voxels of the grid."""
    best = marks.at(np.argsort(-marks.scores, kind="stable")[:MOST_CANDIDATES])
    centres = index_to_lps(search.grid.affine_lps, best.centres)
    found = Marks(centres, best.diameters_mm, best.scores)
    inside = found.at(search.region.contains(centres))
    kept = inside.at(suppress_near(inside.centres, inside.diameters_mm, inside.scores))
    nodules = _one_a_voxel(kept, search.pyramid.levels[0])
    most = search.settings.max_marks
    return _Sifted(
        nodules[:most],
        outside_lungs=len(found.scores) - len(inside.scores),
        merged=len(inside.scores) - len(nodules),
        beyond_limit=len(marks.scores) - len(found.scores) + max(0, len(nodules) - most),
    )


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
