"""An image at several resolutions, cut into tiles: what a viewer draws of it at any zoom."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from medvit.io.decoding.process import Decoder, Job
from medvit.io.images.bands import Rows, form_to_show, iter_bands
from medvit.io.images.form import Form
from medvit.io.pyramid_store import PyramidStore

TILE_PX = 512
"""Side of a tile; those at the right and lower edge are smaller."""

_FORM = b"levels-1"
_DECODER = Decoder()
"""A process of its own: a large image must not keep small ones waiting."""


@dataclass(frozen=True, slots=True, eq=False)
class TiledImage:
    """An upright image and its halvings.

    Attributes:
        levels: `(y, x)` grey or `(y, x, 3)` colour, 8 bits, largest first; each is half of
            the one before, rounded up, and the last one fits a tile.
    """

    levels: tuple[Rows, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image itself."""
        height, width = self.levels[0].shape[:2]
        return height, width

    def tile(self, level: int, row: int, column: int) -> Rows:
        """Return the pixels of a tile.

        Raises:
            LookupError: If there is no such level or tile.
        """
        if not 0 <= level < len(self.levels):
            msg = f"an image of {len(self.levels)} levels has no level {level}"
            raise LookupError(msg)
        pixels = self.levels[level]
        top, left = row * TILE_PX, column * TILE_PX
        if not (0 <= top < pixels.shape[0] and 0 <= left < pixels.shape[1]):
            msg = f"level {level}, {pixels.shape[1]} wide, has no tile {row}, {column}"
            raise LookupError(msg)
        return np.ascontiguousarray(pixels[top : top + TILE_PX, left : left + TILE_PX])


def open_tiled(path: Path, store: PyramidStore) -> TiledImage:
    """Return an image in tiles; a new one is decoded in a process of its own, and kept.

    Memory does not grow with the image: its levels are files that are mapped, not read.

    Args:
        path: PNG, JPEG, BMP, TIFF, GIF or WebP.
        store: Where the levels are kept, one byte a sample and a third on top.

    Raises:
        ReadError: As `medvit.io.images.bands.iter_bands`, and `not_an_image` or `unreadable`.
        OSError: If the store cannot be written.
    """
    key = key_of(path)
    folder = store.find(key)
    if folder is None:
        form = form_to_show(path)
        with store.draft(key) as draft:
            draft.mkdir()
            head = {"job": "levels", "path": str(path.absolute()), "folder": str(draft)}
            pixels = form.width * form.height
            _DECODER.ask(Job(path.name, pixels, head, b"", most_bytes=0))
        folder = store.find(key)
    if folder is None:
        msg = "was deleted while it was made"
        raise OSError(msg)
    return TiledImage(tuple(_mapped(folder)))


def key_of(path: Path) -> str:
    """Return a name for the content of a file as it is now: where it lies, its size and age.

    Raises:
        OSError: If the file is not there.
    """
    found = path.stat()
    text = f"{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}"
    return hashlib.sha256(_FORM + text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def tiled_in_memory(pixels: Rows) -> TiledImage:
    """Return a small image in tiles, all levels in memory.

    Examples:
        >>> [level.shape for level in tiled_in_memory(np.zeros((600, 1025), np.uint8)).levels]
        [(600, 1025), (300, 513), (150, 257)]
    """
    levels = [pixels]
    while max(levels[-1].shape[:2]) > TILE_PX:
        levels.append(halve(levels[-1]))
    return TiledImage(tuple(levels))


def halve(pixels: Rows) -> Rows:
    """Return the means of 2x2 pixels; a last odd row or column counts twice.

    Examples:
        >>> halve(np.array([[1, 3, 9], [5, 7, 9]], np.uint8))
        array([[4, 9]], dtype=uint8)
    """
    odd = [(0, side % 2) for side in pixels.shape[:2]]
    even = np.pad(pixels, odd + [(0, 0)] * (pixels.ndim - 2), mode="edge").astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    halved: Rows = ((total + 2) // 4).astype(np.uint8)
    return halved


def write_levels(path: Path, folder: Path) -> None:
    """Decode an image and write all its levels, holding a few bands in memory.

    Raises:
        ReadError: As `medvit.io.images.bands.iter_bands`.
        OSError: If the folder cannot be written.
    """
    form = form_to_show(path)
    sizes = _sizes(form)
    with ExitStack() as stack:
        files: list[BinaryIO] = [
            stack.enter_context((folder / f"{number}.npy").open("wb"))
            for number in range(len(sizes))
        ]
        carried: list[Rows | None] = [None] * len(sizes)
        for band in iter_bands(path, form):
            if files[0].tell() == 0:
                for file, size in zip(files, sizes, strict=True):
                    _write_head(file, (*size, *band.shape[2:]))
            _write_down(band, files, carried, level=0)
        _write_rest(files, carried)


def _sizes(form: Form) -> list[tuple[int, int]]:
    height, width = (form.width, form.height) if form.is_lying else (form.height, form.width)
    sizes = [(height, width)]
    while max(sizes[-1]) > TILE_PX:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def _write_head(file: BinaryIO, shape: tuple[int, ...]) -> None:
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)


def _write_down(
    rows: Rows, files: list[BinaryIO], carried: list[Rows | None], *, level: int
) -> None:
    """Write rows to a level, and what they come to in the levels below."""
    files[level].write(np.ascontiguousarray(rows).data)
    if level + 1 == len(files):
        return
    above = carried[level]
    whole = rows if above is None else np.concatenate([above, rows])
    even = len(whole) // 2 * 2
    carried[level] = whole[even:].copy() if even < len(whole) else None
    if even:
        _write_down(halve(whole[:even]), files, carried, level=level + 1)


def _write_rest(files: list[BinaryIO], carried: list[Rows | None]) -> None:
    """Write what the last odd row of each level comes to in the levels below."""
    for level in range(len(files) - 1):
        rows, carried[level] = carried[level], None
        if rows is not None:
            _write_down(halve(rows), files, carried, level=level + 1)


def _mapped(folder: Path) -> Iterator[npt.NDArray[np.uint8]]:
    number = 0
    while (file := folder / f"{number}.npy").is_file():
        yield np.load(file, mmap_mode="r", allow_pickle=False)
        number += 1
