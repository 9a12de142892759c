"""Blosc for zarr that looks at the length of a frame first: the library itself reads past its end.

Importing this imports zarr; only the one function that opens arrays does.
"""

from __future__ import annotations

import struct
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
from zarr import config
from zarr.codecs import BloscCodec
from zarr.registry import register_codec

from medvit.io.ome_zarr_metadata import MOST_CHUNK_BYTES

FRAME_HEADER_BYTES = 16


def check_frame(frame: Any) -> None:
    """Refuse a frame that is not as long as it says, or unpacks to far too much.

    Bytes 4 to 16 of a Blosc 1 header are three little endian numbers: unpacked length,
    block length, packed length.

    Raises:
        ValueError: With both lengths.
    """
    raw = np.frombuffer(frame, np.uint8)
    if len(raw) < FRAME_HEADER_BYTES:
        msg = f"a Blosc frame of {len(raw)} bytes"
        raise ValueError(msg)
    unpacked, _, packed = struct.unpack("<3I", raw[4:FRAME_HEADER_BYTES].tobytes())
    if packed != len(raw) or unpacked > MOST_CHUNK_BYTES:
        msg = f"a Blosc frame of {len(raw)} bytes says {packed}, and {unpacked} unpacked"
        raise ValueError(msg)


class CheckedBlosc(numcodecs.Blosc):  # type: ignore[misc]
    """Blosc as zarr 2 arrays name it."""

    codec_id = "blosc"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a frame whose length is right."""
        check_frame(buf)
        return super().decode(buf, out)


class CheckedBloscCodec(BloscCodec):
    """Blosc as zarr 3 arrays name it."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        check_frame(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


def use_checked_blosc() -> Any:
    """Return a context in which arrays that are opened unpack Blosc with a look first."""
    return config.set({"codecs.blosc": f"{__name__}.{CheckedBloscCodec.__qualname__}"})


numcodecs.register_codec(CheckedBlosc)
register_codec("blosc", CheckedBloscCodec)
