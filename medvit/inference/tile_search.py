"""Tiles -> maps: read ahead, seen by the network, kept in a journal as they are finished."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from medvit.data.nodule_crops import HIGH_HU, LOW_HU
from medvit.errors import ModelError
from medvit.inference.batches import in_batches
from medvit.inference.marks import Maps
from medvit.inference.one_thread import one_thread
from medvit.inference.tile_journal import TileJournal
from medvit.models.heads.centre import CentreMaps
from medvit.tiles.grid import Tile
from medvit.tiles.read_ahead import read_ahead
from medvit.volume.resample import VoxelGrid
from medvit.volume.scale import HuScale
from medvit.volume.volume import Hu

T = TypeVar("T")
Looked = Generator[tuple[Tile, Maps], None, None]

SCALE = HuScale(LOW_HU, HIGH_HU)
"""What the detector takes HU as; training does the same."""

STALL_S = 300.0
"""A tile that takes longer to read lies on a disk or share that has stalled."""


@dataclass(frozen=True, slots=True)
class SearchMeans:
    """What a search may use. Nothing here changes what it finds.

    Attributes:
        readers: Threads that read tiles, and on the processor also look at them; 0: the
            search's own does both.
        read_ahead: Tiles that are being made or wait, at most.
        tile_batch: Tiles that a GPU sees at once, at most.
        blend_bytes: Memory for adding up the maps of overlapping tiles.
        stall_s: Longest time to wait for a tile.
        is_time_up: Asked after each tile; once it says so, the search ends with what it has.
    """

    readers: int = 1
    read_ahead: int = 2
    tile_batch: int = 1
    blend_bytes: int = 64 * 2**20
    stall_s: float = STALL_S
    is_time_up: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, eq=False)
class TileSource:
    """Where the maps of tiles come from: the journal, or the network.

    Attributes:
        grid: Read from; a tile costs what its box costs.
        model: Returns `CentreMaps` for tiles (n, 1, z, y, x); in evaluation mode.
        journal: Gets the maps of each tile as soon as it is finished.
    """

    grid: VoxelGrid
    model: nn.Module
    journal: TileJournal

    def iter_maps(self, tiles: Sequence[Tile], means: SearchMeans) -> Looked:
        """Yield the maps of all tiles: those that the journal holds, then the others, in order.

        Raises:
            ModelError: If the model answers with numbers that are not finite.
            ReadError: If a tile cannot be read, or not within `means.stall_s`.
        """
        known = self.journal.numbers()
        for tile in tiles:
            if tile.number in known:
                yield tile, self.journal.load(tile.number)
        todo = [tile for tile in tiles if tile.number not in known]
        looked = self._on_processor if self._device().type == "cpu" else self._on_gpu
        for tile, maps in looked(todo, means):
            self.journal.add(tile.number, maps)
            yield tile, maps

    def _on_processor(self, tiles: Sequence[Tile], means: SearchMeans) -> Looked:
        """Let each reader look at what it read: tiles side by side, a thread each."""
        with one_thread(), closing(_ahead(tiles, self._made, means)) as made:
            yield from made

    def _on_gpu(self, tiles: Sequence[Tile], means: SearchMeans) -> Looked:
        """Let readers fill batches for the GPU."""
        with closing(_ahead(tiles, self._read, means)) as ahead:
            yield from in_batches(ahead, self._look, most=means.tile_batch)

    def maps_of(self, tile: Tile) -> Maps:
        """Return the maps of a tile that was finished; made again where they were not kept."""
        if tile.number in self.journal.numbers():
            maps: Maps = self.journal.load(tile.number)
            return maps
        with one_thread():
            return self._made(tile)

    def _device(self) -> torch.device:
        return next(self.model.parameters(), torch.empty(0)).device

    def _made(self, tile: Tile) -> Maps:
        ((_, maps),) = self._look([(tile, self._read(tile))])
        return maps

    def _read(self, tile: Tile) -> Hu:
        return self.grid.read(*tile.box, scale=SCALE)

    def _look(self, batch: Sequence[tuple[Tile, Hu]]) -> list[tuple[Tile, Maps]]:
        tiles, values = zip(*batch, strict=True)
        return list(zip(tiles, _maps_of(self.model, values), strict=True))


def _ahead(
    tiles: Sequence[Tile], make: Callable[[Tile], T], means: SearchMeans
) -> Generator[tuple[Tile, T], None, None]:
    return read_ahead(
        tiles, make, workers=means.readers, depth=means.read_ahead, stall_s=means.stall_s
    )


def _maps_of(model: nn.Module, tiles: Sequence[Hu]) -> list[Maps]:
    """Return the maps (5, z, y, x) of each tile (z, y, x) of scaled values."""
    device = next(model.parameters(), torch.empty(0)).device
    x = torch.from_numpy(np.stack(tiles)[:, None]).to(device)
    with torch.inference_mode():
        answer: CentreMaps = model(x)
    maps = torch.cat(list(answer), dim=1).float()
    if not bool(torch.isfinite(maps).all()):
        msg = f"{type(model).__name__} answered a tile with numbers that are not finite"
        raise ModelError(msg, hint="use another model version; `medvit models verify` checks files")
    return list(maps.cpu().numpy())
