"""A series of DICOM slices as a volume that decodes only the slices it is asked for."""

from __future__ import annotations

import numpy as np

from medvit.io.dicom_geometry import Stack, affine_of
from medvit.io.dicom_pixels import read_stored
from medvit.io.planes import CACHE_BYTES, PlaneCache, rescale_into
from medvit.volume.volume import Hu, Volume


def open_stack(stack: Stack, *, cache_bytes: int = CACHE_BYTES) -> Volume:
    """Return a volume over slices that triage found regular.

    Each slice is rescaled by its own slope and intercept. Stored values, not HU,
    are kept between reads, at most `cache_bytes` of them.
    """
    headers = stack.headers
    planes = PlaneCache(lambda number: read_stored(headers[number]), max_bytes=cache_bytes)

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        hu = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
        for row, number in enumerate(range(z.start, z.stop)):
            header = headers[number]
            slope = 1.0 if header.slope is None else header.slope
            intercept = header.intercept or 0.0
            rescale_into(hu[row], planes.plane(number)[y, x], slope=slope, intercept=intercept)
        return hu

    layout = headers[0].layout
    return Volume((len(headers), layout.rows, layout.columns), affine_of(stack), read_block)
