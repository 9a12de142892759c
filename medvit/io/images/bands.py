"""An image as bands of 8-bit rows from top to bottom: one of 20,000 pixels a side needs little."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from medvit.errors import ReadError
from medvit.io.images.form import Form, opened_by_pillow, read_form
from medvit.io.images.raster import MAX_PIXELS
from medvit.io.images.samples import bits_in_use, by_pillow, read_samples

Rows = npt.NDArray[np.uint8]

MOST_PIXELS = 1 << 29
"""Most pixels of an image that is shown: 23,170 squared, or 20,000x26,000."""

BAND_PIXELS = 1 << 22
"""Most pixels of a band."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_BANDED_TYPES = frozenset({(8, 0), (16, 0), (8, 2), (8, 3), (8, 4), (8, 6)})
"""Bits and colour type of PNG that are decoded band by band; all that cameras write."""

_GREY16 = (16, 0)
_PNG_MARK = b"\x89PNG\r\n\x1a\n"


def iter_bands(path: Path, form: Form) -> Iterator[Rows]:
    """Yield `(y, x)` grey or `(y, x, 3)` colour bands of the upright image.

    The grey levels are those of `medvit.io.images.raster.decode_image`, as 0 to 255. Images
    over `MAX_PIXELS` are read band by band from PNG, and from other formats as a whole with
    8 bits, where one copy of that fits the memory of the decoding process.

    Raises:
        ReadError: `too_large`, `wrong_dimensions`, `truncated`, `undecodable` or `bad_value`.
    """
    _check(path, form)
    if form.width * form.height <= MAX_PIXELS:
        samples = read_samples(path, form)
        scale = samples.full_scale
        yield from (_to_8_bits(part, scale) for part in _cut(samples.values))
    elif form.orientation != 1:
        raise _too_large(path, form, "turned by EXIF")
    elif form.format == "PNG" and form.png_type in _BANDED_TYPES:
        yield from _png_bands(path, form)
    else:
        yield from _whole_bands(path, form)


def form_to_show(path: Path) -> Form:
    """Return the form of an image that is to be shown, of one pixel or of very many.

    Raises:
        ReadError: As `iter_bands`, but for what only pixels can tell.
    """
    form = read_form(path)
    _check(path, form)
    return form


def _check(path: Path, form: Form) -> None:
    if form.frames > 1:
        msg = f"{path.name}: {form.frames} frames, one expected"
        raise ReadError(msg, reason="wrong_dimensions", hint="save the frames as single images")
    if form.width * form.height > MOST_PIXELS:
        raise _too_large(path, form, f"over {MOST_PIXELS} pixels")


def _too_large(path: Path, form: Form, why: str) -> ReadError:
    msg = f"{path.name}: {form.width}x{form.height} pixels, {why}, cannot be shown"
    return ReadError(msg, reason="too_large", hint="save it upright as PNG, or cut it into parts")


def _cut(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    step = _band_height(values.shape[1])
    for start in range(0, values.shape[0], step):
        yield values[start : start + step]


def _band_height(width: int) -> int:
    """Return an even number of rows, so that bands can be halved one by one."""
    return max(2, BAND_PIXELS // width // 2 * 2)


def _to_8_bits(values: npt.NDArray[Any], full_scale: float) -> Rows:
    if values.dtype == np.uint8 and full_scale == 255:
        return values
    scaled: npt.NDArray[np.float32] = values.astype(np.float32) * np.float32(255 / full_scale)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _whole_bands(path: Path, form: Form) -> Iterator[Rows]:
    # The decoding process bounds its own memory; Pillow's guess of a bomb is far below it.
    Image.MAX_IMAGE_PIXELS = None
    with opened_by_pillow(path, path.name, form.format) as image:
        if image.mode not in ("L", "RGB", "P", "1"):
            raise _too_large(path, form, f"of kind {image.mode}")
        try:
            image.load()
        except MemoryError as error:
            raise _too_large(path, form, "more than the memory for decoding") from error
        except OSError as error:
            msg = f"{path.name}: the file ends before its pixels do, or they cannot be decoded"
            hint = "save or copy it again"
            raise ReadError(msg, reason="truncated", hint=hint) from error
        step = _band_height(form.width)
        for top in range(0, form.height, step):
            yield by_pillow(image.crop((0, top, form.width, min(form.height, top + step))))


def _png_bands(path: Path, form: Form) -> Iterator[Rows]:
    if form.png_type != _GREY16:
        yield from _iter_png(path, form)
        return
    largest = max(int(band.max()) for band in _iter_png(path, form))
    scale = 2.0 ** bits_in_use(largest) - 1
    yield from (_to_8_bits(band, scale) for band in _iter_png(path, form))


def _iter_png(path: Path, form: Form) -> Iterator[npt.NDArray[Any]]:
    """Decode a PNG of any height: each band becomes a small PNG of its own.

    Filters of a row look at the row above (W3C PNG 3, 9.2), so each small file starts with
    the last row of the band before it, stored as it is; that row is dropped again.
    """
    head, palette = _png_head(path)
    if head[12]:
        raise _too_large(path, form, "interlaced")
    stride = 1 + form.width * _CHANNELS[form.png_type[1]] * form.png_type[0] // 8
    above = b""
    left = form.height
    with path.open("rb") as file:
        raw = _Inflated(file)
        while left:
            count = min(left, _band_height(form.width))
            packed = _take(raw, count * stride, path)
            small = _small_png(head, palette, above + packed, count + bool(above))
            with opened_by_pillow(io.BytesIO(small), path.name, "PNG") as image:
                image.load()
                above = b"\0" + _last_row(image)
                values = by_pillow(image)
            yield values[-count:]
            left -= count


class _Inflated:
    """What the pixels of a PNG inflate to, piece by piece."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._chunks = _iter_chunks(file)
        self._engine = zlib.decompressobj()
        self._held = bytearray()

    def take(self, wanted: int) -> bytes:
        """Return so many bytes, fewer at the end."""
        while len(self._held) < wanted:
            packed = self._engine.unconsumed_tail or self._next()
            if not packed:
                self._held += self._engine.flush()
                break
            self._held += self._engine.decompress(packed, wanted)
        taken = bytes(self._held[:wanted])
        del self._held[:wanted]
        return taken

    def _next(self) -> bytes:
        for name, length in self._chunks:
            if name == b"IDAT" and length:
                return self._file.read(length)
        return b""


def _iter_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of every chunk, the file standing at its content."""
    place = len(_PNG_MARK)
    while True:
        file.seek(place)
        raw = file.read(8)
        if len(raw) < 8:
            return
        length = int.from_bytes(raw[:4], "big")
        yield raw[4:], length
        place += length + 12


def _take(raw: _Inflated, wanted: int, path: Path) -> bytes:
    try:
        taken = raw.take(wanted)
    except zlib.error as error:
        msg = f"{path.name}: the pixels cannot be decoded"
        raise ReadError(msg, reason="undecodable", hint="save or copy it again") from error
    if len(taken) < wanted:
        msg = f"{path.name}: the file ends before its pixels do"
        raise ReadError(msg, reason="truncated", hint="save or copy it again")
    return taken


def _png_head(path: Path) -> tuple[bytes, bytes]:
    """Return the content of IHDR, and the chunks of the palette as they stand in the file."""
    head, palette = b"", b""
    with path.open("rb") as file:
        for name, length in _iter_chunks(file):
            if name == b"IHDR":
                head = file.read(13)
            elif name in (b"PLTE", b"tRNS"):
                palette += _chunk(name, file.read(min(length, 1024)))
            elif name == b"IDAT":
                break
    return head, palette


def _small_png(head: bytes, palette: bytes, rows: bytes, height: int) -> bytes:
    start = _chunk(b"IHDR", head[:4] + height.to_bytes(4, "big") + head[8:])
    return b"".join(
        [_PNG_MARK, start, palette, _chunk(b"IDAT", zlib.compress(rows, 0)), _chunk(b"IEND", b"")]
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + name + content + check


def _last_row(image: Image.Image) -> bytes:
    row = image.crop((0, image.height - 1, image.width, image.height)).tobytes()
    # Samples of two bytes are big-endian in PNG, little-endian in Pillow.
    return np.frombuffer(row, "<u2").astype(">u2").tobytes() if image.mode == "I;16" else row
