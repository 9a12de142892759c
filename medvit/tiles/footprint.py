"""What each step of a scan holds in memory, from the sizes of its slabs, queues and batches."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

MIB = 2**20
FLOAT, STORED = 4, 2
"""Bytes of a voxel as float32, and as it is stored."""

PYRAMID_COPIES = 3.5
"""What a slab takes while a pyramid is written, in slabs of float32: HU, int16, levels, packing."""

SLAB_COPIES = 3
"""Float32 copies of a block while it is resampled: source, one axis done, result."""

COARSE_MM = 3.0
LUNG_VOXEL_BYTES = 48
"""Bytes for each 3 mm voxel while lungs are found: values, masks, labels, distances."""

LUNG_LAYERS = 2
"""Layers of 3 mm that the thinnest slab of source slices spans."""

CANDIDATE_VOXEL_BYTES = 48
"""Bytes for each 3 mm voxel while coarse candidates are found."""

MAP_CHANNELS = 5
"""Numbers that the network gives for each place: heat, three offsets, a diameter."""

MAP_STRIDE = 2
"""Grid voxels along an edge of a place."""

BLEND_COPIES = 3
"""Copies of a slab of the score map: sum, weights, result."""

PICTURE_BYTES = 16 * MIB
"""What the small pictures of the findings take."""

DECODER_BYTES = 60 * MIB
"""What the process that decodes compressed slices holds."""

ALLOCATOR_SHARE, ALLOCATOR_BYTES = 0.08, 24 * MIB
"""What the allocator keeps beyond what is asked of it: a share of it, and something in any case."""


@dataclass(frozen=True, slots=True)
class CaseSize:
    """What the memory of a case depends on.

    Attributes:
        shape: Voxels along (z, y, x).
        spacing_mm: Along (z, y, x).
        is_plain: Whether boxes are read from its files in place: nothing is decoded, and
            no pyramid is needed.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    is_plain: bool

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice as float32."""
        return self.shape[1] * self.shape[2] * FLOAT

    def voxels_at(self, grid_mm: float) -> int:
        """Return the voxels of a grid over the case."""
        edges = zip(self.shape, self.spacing_mm, strict=True)
        return prod(max(1, round(n * mm / grid_mm)) for n, mm in edges)

    def block_voxels(self, side_mm: float) -> int:
        """Return the source voxels that a cube is resampled from."""
        edges = zip(self.shape, self.spacing_mm, strict=True)
        return prod(min(n, ceil(side_mm / mm) + 2) for n, mm in edges)


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
        most_readers: Threads that read tiles ahead, if memory allows.
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
        plane_cache: Bytes of decoded planes that the reader keeps.
        pyramid_slab: Bytes of a slab of the pyramid pass, as float32.
        lungs_slab: Bytes of a slab of source slices of the 3 mm pass, as float32.
        queue: Tiles that wait for the network.
        blend_slab: Bytes of a slab of the score map.
    """

    plane_cache: int
    pyramid_slab: int
    lungs_slab: int
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
    kept = held_bytes + sizes.plane_cache + (0 if case.is_plain else DECODER_BYTES)
    steps = {
        "pyramid": PYRAMID_COPIES * sizes.pyramid_slab,
        "lungs": _lungs(case, sizes),
        "candidates": CANDIDATE_VOXEL_BYTES * case.voxels_at(COARSE_MM),
        "tiles": _tiles(search, sizes),
        "blending": BLEND_COPIES * sizes.blend_slab,
        "pictures": PICTURE_BYTES,
    }
    if case.is_plain:
        del steps["pyramid"]
    return tuple(
        Phase(name, kept + ceil(bytes_ * (1 + ALLOCATOR_SHARE)) + ALLOCATOR_BYTES)
        for name, bytes_ in steps.items()
    )


def _lungs(case: CaseSize, sizes: Sizes) -> float:
    coarse = case.voxels_at(COARSE_MM)
    return max(FLOAT * coarse + SLAB_COPIES * sizes.lungs_slab, LUNG_VOXEL_BYTES * coarse)


def _tiles(search: Search, sizes: Sizes) -> float:
    block = search.case.block_voxels(search.tile_side * search.grid_mm)
    reading = SLAB_COPIES * max(block, search.tile_side**3) * FLOAT
    readers = min(sizes.queue, search.most_readers)
    waiting = (sizes.queue + search.tile_batch) * search.tile_side**3 * FLOAT
    return search.network.tile_bytes + readers * reading + waiting
