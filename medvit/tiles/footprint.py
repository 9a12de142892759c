"""What each step of a scan holds in memory, from the sizes of its slabs, queues and batches."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from medvit.tiles.blend import blend_bytes
from medvit.volume.slabs import SOURCE_BYTES

MIB = 2**20
FLOAT, STORED = 4, 2
"""Bytes of a voxel as float32, and as it is stored."""

PYRAMID_COPIES, PYRAMID_BYTES = 3.5, 40 * MIB
"""What a slab takes while a pyramid is written, in slabs of float32, and what packing takes."""

COARSE_MM, LUNG_VOXEL_BYTES = 3.0, 32
"""Bytes for each 3 mm voxel while lungs are found: values, masks, labels, distances."""

LUNG_BYTES = 3 * SOURCE_BYTES // 2
"""What a slab of source voxels takes while it is resampled to 3 mm or 2 mm."""

BLOB_MM, BLOB_LAYERS, BLOB_COPIES = 2.0, 88, 6
"""Voxels of the candidate map, its layers held at a time with their margins, and float32 copies."""

READER_BYTES = 8 * MIB
"""What a reader takes beside its block: chunks as they are unpacked."""

MAP_CHANNELS, MAP_STRIDE = 5, 2
"""Numbers that the network gives for each cell of a tile, and grid voxels along its edge."""

PICTURE_BYTES = 16 * MIB
"""What the small pictures of the findings take."""

DECODER_BYTES = 60 * MIB
"""What the process that decodes compressed slices holds."""

ALLOCATOR_SHARE, ALLOCATOR_BYTES = 0.05, 16 * MIB
"""What the allocator keeps beyond what is asked of it: a share of it, and something in any case."""

NETWORK_SHARE = 0.12
"""The same where a network works: gaps between its arrays grow from tile to tile, measured."""


@dataclass(frozen=True, slots=True)
class CaseSize:
    """What the memory of a case depends on.

    Attributes:
        shape: Voxels along (z, y, x).
        spacing_mm: Along (z, y, x).
        has_decoder: Whether its slices are decoded in a process apart.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    has_decoder: bool = False

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice as float32."""
        return self.shape[1] * self.shape[2] * FLOAT

    def grid_shape(self, grid_mm: float) -> tuple[int, int, int]:
        """Return the voxels of a grid over the case along (z, y, x)."""
        edges = zip(self.shape, self.spacing_mm, strict=True)
        z, y, x = (max(1, round(n * mm / grid_mm)) for n, mm in edges)
        return z, y, x


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a network holds beyond its weights while it looks at tiles.

    Attributes:
        tile_bytes: Memory of the process for one tile.
        device_bytes: Memory of the GPU for one tile; 0 where the processor computes.
        further_bytes: Memory of the GPU for each further tile of a batch.
    """

    tile_bytes: int
    device_bytes: int = 0
    further_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """A case, and how it is looked at.

    Attributes:
        tile_side: Voxels along the edge of a tile.
        grid_mm: Edge of a voxel of it.
        most_readers: Threads that read tiles, and on the processor look at them, if memory
            allows.
        tile_batch: Tiles that the network sees at once.
    """

    case: CaseSize
    network: NetworkCost
    tile_side: int = 96
    grid_mm: float = 1.0
    most_readers: int = 2
    tile_batch: int = 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """What may be larger or smaller without a finding changing.

    Attributes:
        pyramid_slab: Bytes of a slab of the pyramid pass, as float32.
        queue: Tiles that wait for the network.
        blend_slab: Bytes that adding up tile maps may hold.
    """

    pyramid_slab: int
    queue: int
    blend_slab: int


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of a scan and the most that the process holds during it."""

    name: str
    peak_bytes: int


def phases_of(search: Search, sizes: Sizes, *, held_bytes: int) -> tuple[Phase, ...]:
    """Return what the steps of a scan hold at their peaks, in their order.

    Args:
        held_bytes: What process and decoder hold before the case.
    """
    case = search.case
    kept = held_bytes + (DECODER_BYTES if case.has_decoder else 0)
    steps = {
        "pyramid": PYRAMID_COPIES * sizes.pyramid_slab + PYRAMID_BYTES,
        "lungs": max(LUNG_BYTES, LUNG_VOXEL_BYTES * prod(case.grid_shape(COARSE_MM))),
        "candidates": LUNG_BYTES + _candidates(case),
        "tiles": _tiles(search, sizes),
        "blending": sizes.blend_slab,
        "pictures": PICTURE_BYTES,
    }
    shares = {"tiles": NETWORK_SHARE}
    return tuple(
        Phase(name, kept + ceil(bytes_ * (1 + shares.get(name, ALLOCATOR_SHARE))) + ALLOCATOR_BYTES)
        for name, bytes_ in steps.items()
    )


def blending(search: Search, layers: int) -> int:
    """Return what adding up tile maps holds for a slab of so many layers of the whole grid."""
    _, height, width = (ceil(n / MAP_STRIDE) for n in search.case.grid_shape(search.grid_mm))
    side = search.tile_side // MAP_STRIDE
    return blend_bytes(channels=MAP_CHANNELS, slab=(layers, height, width), tile=(side, side, side))


def _candidates(case: CaseSize) -> int:
    _, height, width = case.grid_shape(BLOB_MM)
    return BLOB_COPIES * BLOB_LAYERS * height * width * FLOAT


def _tiles(search: Search, sizes: Sizes) -> int:
    tile = search.tile_side**3 * FLOAT
    # Slices of the source in plane, and the tile before and after it is turned and scaled.
    spacing_mm = max(search.case.spacing_mm[0], search.grid_mm / 2)
    depth = min(search.case.shape[0], ceil(search.tile_side * search.grid_mm / spacing_mm) + 2)
    reading = READER_BYTES + 2 * tile + depth * search.tile_side**2 * FLOAT
    readers = min(sizes.queue, search.most_readers)
    waiting = (sizes.queue + 2 * search.tile_batch) * tile
    # On the processor each reader looks at what it read; a GPU sees one batch at a time.
    lookers = 1 if search.network.device_bytes else readers
    return lookers * search.network.tile_bytes + readers * reading + waiting
