"""The codecs of zarr with a look at what a chunk unpacks to before it is unpacked.

Importing this imports zarr; only the one function that opens arrays does. Zarr 2 and the
`numcodecs.` names of zarr 3 go by numcodecs' table, the other names of zarr 3 by zarr's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
from zarr import config
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.registry import register_codec

from medvit.io.volumes.chunk_frames import blosc_bytes, inflate, lz4_bytes, zstd_bytes
from medvit.io.volumes.ome_zarr_metadata import MOST_CHUNK_BYTES


def check_frame(frame: Any, length_of: Callable[[bytes], int]) -> None:
    """Refuse a frame that unpacks to more than a chunk may hold.

    Raises:
        ValueError: With the length, or because the frame is broken.
    """
    unpacked = length_of(np.frombuffer(frame, np.uint8).tobytes())
    if unpacked > MOST_CHUNK_BYTES:
        msg = f"a chunk that unpacks to {unpacked} bytes, {MOST_CHUNK_BYTES} are the most"
        raise ValueError(msg)


class CheckedBlosc(numcodecs.Blosc):  # type: ignore[misc]
    """Blosc of a bounded length."""

    codec_id = "blosc"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a frame whose lengths are right."""
        check_frame(buf, blosc_bytes)
        return super().decode(buf, out)


class CheckedZstd(numcodecs.Zstd):  # type: ignore[misc]
    """Zstandard of a bounded length."""

    codec_id = "zstd"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack frames whose blocks hold no more than a chunk may."""
        check_frame(buf, zstd_bytes)
        return super().decode(buf, out)


class CheckedLz4(numcodecs.LZ4):  # type: ignore[misc]
    """LZ4 of a bounded length."""

    codec_id = "lz4"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a block whose stated length is bounded."""
        check_frame(buf, lz4_bytes)
        return super().decode(buf, out)


class _Inflating:
    """What gzip and zlib share: unpacking that stops at the most that a chunk may hold."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a stream, into `out` where that is given."""
        content = inflate(np.frombuffer(buf, np.uint8).tobytes(), most_bytes=MOST_CHUNK_BYTES)
        return numcodecs.compat.ndarray_copy(content, out)


class CheckedGzip(_Inflating, numcodecs.GZip):  # type: ignore[misc]
    """Gzip of a bounded length."""

    codec_id = "gzip"


class CheckedZlib(_Inflating, numcodecs.Zlib):  # type: ignore[misc]
    """Zlib of a bounded length."""

    codec_id = "zlib"


class CheckedBloscCodec(BloscCodec):
    """Blosc of zarr 3, of a bounded length."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        check_frame(chunk_bytes.as_numpy_array(), blosc_bytes)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class CheckedZstdCodec(ZstdCodec):
    """Zstandard of zarr 3, of a bounded length."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        check_frame(chunk_bytes.as_numpy_array(), zstd_bytes)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class CheckedGzipCodec(GzipCodec):
    """Gzip of zarr 3, of a bounded length."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        content = inflate(chunk_bytes.to_bytes(), most_bytes=MOST_CHUNK_BYTES)
        return chunk_spec.prototype.buffer.from_bytes(content)


CODECS_3 = {"blosc": CheckedBloscCodec, "zstd": CheckedZstdCodec, "gzip": CheckedGzipCodec}
CODECS_2 = (CheckedBlosc, CheckedZstd, CheckedLz4, CheckedGzip, CheckedZlib)


def use_checked_codecs() -> Any:
    """Return a context in which arrays of zarr 3 that are opened get the codecs above."""
    return config.set({f"codecs.{name}": _name_of(codec) for name, codec in CODECS_3.items()})


def _name_of(codec: type) -> str:
    return f"{codec.__module__}.{codec.__qualname__}"


for codec_2 in CODECS_2:
    numcodecs.register_codec(codec_2)
for name_3, codec_3 in CODECS_3.items():
    register_codec(name_3, codec_3)
