"""A CT volume that is read box by box, never as a whole unless asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, Triple, spacing_of

AIR_HU = -1024.0
"""What counts as air: scanners write values below it outside their field of view."""

Hu = npt.NDArray[np.float32]
BlockReader = Callable[[slice, slice, slice], Hu]


@dataclass(frozen=True, slots=True)
class SliceOrigin:
    """Where a slice of a volume was read from.

    Attributes:
        frame: Number of the frame in a multi-frame file, from 0.
        sop_uid: DICOM SOPInstanceUID.
        instance_number: As the scanner counted; None when it did not.
    """

    path: Path
    frame: int
    sop_uid: str
    instance_number: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A regular box of HU values with its place in the patient.

    Slices are ordered by increasing position along the normal of the image plane
    (row direction cross column direction).

    Attributes:
        shape: Voxels along `(z, y, x)`.
        affine_lps: 4x4; maps `(z, y, x, 1)` to `(x, y, z, 1)` in LPS mm.
        read_block: Returns the HU of a box given by three slices with plain bounds.
        origins: For each slice the DICOM slice it was read from, or the nearest one when
            it was resampled; empty for other formats.
        is_plain: Whether a box costs what it holds: nothing else is decoded for it.
    """

    shape: tuple[int, int, int]
    affine_lps: Affine
    read_block: BlockReader
    origins: tuple[SliceOrigin, ...] = ()
    is_plain: bool = False

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            msg = f"a volume needs three axes of at least one voxel, got shape {self.shape}"
            raise ValueError(msg)

    @property
    def spacing_mm(self) -> Triple:
        """Distance of neighbouring voxels along `(z, y, x)`."""
        return spacing_of(self.affine_lps)

    def read(self, z: slice, y: slice, x: slice) -> Hu:
        """Return the HU of a half-open box as a float32 array of its own.

        Values are as the scanner stored them after rescale: padding outside the
        field of view (often -2000 or -3024) is kept; `read_floored` turns it to air.
        Bounds follow numpy: open ends, negative numbers and too large ones are fine.

        Raises:
            ValueError: If a slice has a step other than 1.
            ReadError: If the file behind the box cannot be read.
        """
        return self.read_block(
            *(_plain(part, length) for part, length in zip((z, y, x), self.shape, strict=True))
        )

    def read_floored(self, z: slice, y: slice, x: slice) -> Hu:
        """Return `read` with everything below air, so all padding, raised to `AIR_HU`."""
        hu = self.read(z, y, x)
        return np.maximum(hu, np.float32(AIR_HU), out=hu)

    def read_all(self) -> Hu:
        """Return every voxel; costs four bytes each."""
        return self.read(slice(None), slice(None), slice(None))


def volume_of(hu: npt.ArrayLike, affine_lps: Affine) -> Volume:
    """Return a volume over an array `(z, y, x)` that is already in memory."""
    stored = np.asarray(hu, dtype=np.float32)
    if stored.ndim != 3:
        msg = f"a volume needs three axes, got an array of shape {stored.shape}"
        raise ValueError(msg)

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        return stored[z, y, x].copy()

    depth, height, width = stored.shape
    return Volume((depth, height, width), affine_lps, read_block, is_plain=True)


def _plain(part: slice, length: int) -> slice:
    start, stop, step = part.indices(length)
    if step != 1:
        msg = f"a box is read without gaps: step must be 1, got {part}"
        raise ValueError(msg)
    return slice(start, max(start, stop))
