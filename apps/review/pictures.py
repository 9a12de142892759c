"""Surface images in tiles, small copies of them, and heat maps, as PNG for the browser."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from apps.review.access import scratch, workspace
from apps.review.volumes import PreparingError
from medvit.io.case import Case
from medvit.io.images.bands import form_to_show
from medvit.io.images.tiled import TiledImage, key_of, open_tiled, tiled_in_memory
from medvit.io.os_errors import unreadable
from medvit.io.pyramid_store import PyramidStore
from medvit.io.readers import read_image

if TYPE_CHECKING:
    from torch import nn

    from medvit.models.weights import ModelCard

SMALL_PIXELS = 1 << 22
"""Images up to here (2048x2048) are decoded into memory; larger ones into files, once."""

KEPT_IMAGES = 12
"""Opened images that stay: the one on the desk, the next ones, and those beside it."""

STORE_BYTES = 8 << 30
"""Bound of the cut images on disk: five of 20,000x20,000 in colour, or fifteen in grey."""

THUMBNAIL_PX = 320
HEAT_PX = 1024
"""Longer side of a heat map; a model looks at less than that."""

PATIENCE_S = 0.4
"""How long a request waits for a large image to be cut; the browser asks again."""


class PictureShelf:
    """The last opened images; large ones are cut into tiles by a thread, one at a time."""

    def __init__(self, most: int = KEPT_IMAGES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, Future[TiledImage]] = OrderedDict()
        self._small = ThreadPoolExecutor(2, thread_name_prefix="image")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large-image")

    def get(self, case: Case) -> TiledImage:
        """Return an image in tiles.

        Raises:
            PreparingError: If it is still being cut.
            ReadError: If the file is gone, or cannot be read as an image.
            OSError: If the cache cannot be written.
        """
        path = scratch().archives.local(case.files[0])
        try:
            key = key_of(path)
        except OSError as error:
            raise unreadable(path, error) from error
        with self._lock:
            future = self._opened.get(key)
            if future is None or (future.done() and future.exception() is not None):
                future = self._opened[key] = self._open(path)
            self._opened.move_to_end(key)
            while len(self._opened) > self._most:
                self._opened.popitem(last=False)
        try:
            return future.result(PATIENCE_S)
        except NotYetError as error:
            raise PreparingError(0.0) from error

    def forget(self) -> None:
        """Let go of all images."""
        with self._lock:
            self._opened.clear()

    def _open(self, path: Path) -> Future[TiledImage]:
        form = form_to_show(path)
        if form.width * form.height <= SMALL_PIXELS and min(form.width, form.height) > 1:
            return self._small.submit(_read_small, path)
        return self._large.submit(open_tiled, path, _store())


def _store() -> PyramidStore:
    return PyramidStore(workspace().cache / "images", max_bytes=STORE_BYTES)


SHELF = PictureShelf()


def tile_png(case: Case, level: int, row: int, column: int) -> bytes:
    """Return one tile of an image.

    Raises:
        LookupError: If there is no such tile; else as `PictureShelf.get`.
    """
    return _png(SHELF.get(case).tile(level, row, column))


def thumbnail_png(case: Case) -> bytes:
    """Return an image with `THUMBNAIL_PX` along the longer side; as `PictureShelf.get`."""
    picture = Image.fromarray(_at_most(SHELF.get(case), THUMBNAIL_PX * 2))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return _png(np.asarray(picture))


@lru_cache(maxsize=16)
def heat_png(case: Case, reference: str, models: Path) -> bytes:
    """Return where a model looked, as grey PNG: black nowhere, white most.

    Args:
        case: An image; a large one is made smaller first, as the model does.
        reference: The model that made the finding, `name@version`.
        models: The workspace's folder of models.

    Raises:
        ModelError: If the model is not there any more, or was altered; else as
            `PictureShelf.get`.
    """
    from medvit.inference.defects import judge_image

    module, card = _model(reference, models)
    seen = _at_most(SHELF.get(case), HEAT_PX * 2).astype(np.float32) / np.float32(255)
    if seen.ndim == 2:
        seen = np.repeat(seen[:, :, None], 3, axis=2)
    heat = judge_image(seen, module, card).heat
    picture = Image.fromarray((np.clip(heat, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture.thumbnail((HEAT_PX, HEAT_PX))
    return _png(np.asarray(picture))


def _at_most(image: TiledImage, side: int) -> npt.NDArray[np.uint8]:
    """Return the largest level that is not longer than `side`, else the smallest one."""
    return next((level for level in image.levels if max(level.shape[:2]) <= side), image.levels[-1])


def _read_small(path: Path) -> TiledImage:
    values = read_image(path, scratch=scratch()).pixels
    pixels = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    is_grey = (pixels == pixels[:, :, :1]).all()
    return tiled_in_memory(np.ascontiguousarray(pixels[:, :, 0]) if is_grey else pixels)


@lru_cache(maxsize=2)
def _model(reference: str, models: Path) -> tuple[nn.Module, ModelCard]:
    from medvit.models.weights import load_model
    from medvit.registry.registry import find_model

    return load_model(find_model(reference, task="defect", models=models).folder)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
