"""The pyramid of a CT: found in the workspace, or made in one pass over its slices and kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

import medvit
from medvit.errors import ReadError
from medvit.io.case import Case
from medvit.io.chunk_cache import chunk_key
from medvit.io.os_errors import unreadable
from medvit.io.pyramid_memory import first_held
from medvit.io.pyramid_store import PyramidStore
from medvit.io.readers import open_source
from medvit.io.scratch import Scratch
from medvit.io.source import Source
from medvit.io.volumes.ome_zarr import open_level
from medvit.io.volumes.ome_zarr_metadata import read_json
from medvit.io.writing.cascade import Target, pour_volume
from medvit.io.writing.ome_zarr import FAST, GroupForm, array_path, fill_group, group_attributes
from medvit.io.writing.slabs import SLAB_BYTES, WHOLE, Progress, in_exact_type
from medvit.volume.levels import Kind, plan_levels
from medvit.volume.pyramid import Pyramid, derived_levels
from medvit.volume.volume import BlockReader, Hu, Volume

PYRAMID_VERSION = 1
"""Goes into every key; raise it when what a pyramid holds, or how, changes."""

Place = tuple[Kind, int]
"""What is made of voxels, and the number of the level."""

_log = logging.getLogger(__name__)


def open_pyramid(
    source: Path | str | Case | Source,
    *,
    scratch: Scratch,
    progress: Progress | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> Pyramid:
    """Open a CT series or volume at several resolutions.

    The pyramid is kept in `scratch.pyramids` under a key of the files as they are now.
    When it is not there, it is made while the slices are decoded once, in the memory that
    `pyramid_memory` predicts. Level 0 is stored too, exactly, unless the volume is plain:
    then it is the volume itself. Least values are not stored but made of level 0 on reading.

    A pyramid that is found broken, or goes while it is open, is made anew. Where it cannot
    be kept, the levels that a search needs are held in memory, and the others are made of
    the volume on reading.

    Args:
        source: As in `open_volume`, or opened already.
        scratch: Where it is kept; nothing of the pass goes into `scratch.chunks`.
        progress: Called with the slices read so far and their total, when it is made.
        slab_bytes: Most that a slab takes as float32.

    Raises:
        InputError: If the path does not exist.
        ReadError: With the reason, if the volume cannot be trusted, or read to its end.
    """
    opened = source if isinstance(source, Source) else open_source(source, scratch=scratch)
    shelf = _Shelf(opened, scratch.pyramids, slab_bytes)
    shelf.fill(progress)
    return shelf.pyramid()


def hold_pyramid(volume: Volume, *, slab_bytes: int = SLAB_BYTES) -> Pyramid:
    """Make a pyramid of a volume in memory, of the levels that `open_pyramid` would hold.

    Raises:
        ReadError: If the volume cannot be read.
    """
    shelf = _Shelf(Source(volume, volume, ()), None, slab_bytes)
    shelf.fill()
    return shelf.pyramid()


class _Shelf:
    """The levels of one volume, on disk or in memory, and what is done when they are gone."""

    def __init__(self, source: Source, store: PyramidStore | None, slab_bytes: int) -> None:
        self._source = source
        self._store = store
        self._slab_bytes = slab_bytes
        self._form = _form_of(source.volume)
        self._blocks: Mapping[Place, BlockReader] = {}
        self._is_whole = False
        self._lock = Lock()
        self._key = _key_of(source) if store is not None else ""

    def pyramid(self) -> Pyramid:
        """Return the levels, each read from where it is at that moment."""
        levels = self._derived("mean")
        finest = levels[0]
        if ("mean", 0) in self._form.arrays():
            finest = replace(finest, read_block=partial(self._read, ("mean", 0)), is_plain=True)
        means, highs = (
            tuple(
                replace(level, read_block=partial(self._read, (kind, number)), is_plain=True)
                for number, level in enumerate(levels[1:], start=1)
            )
            for kind in ("mean", "max")
        )
        return Pyramid((finest, *means), derived_levels(finest, "min")[1:], highs)

    def fill(self, progress: Progress | None = None) -> None:
        """Find the levels, or make them."""
        if not list(self._form.arrays()):
            return
        if self._store is None:
            self._hold(progress)
            return
        try:
            if not self._find(self._store):
                self._make(self._store, progress)
        except OSError as error:
            _log.warning("a pyramid is not kept on disk: %s", error.strerror or error)
            self._hold(progress)

    def _read(self, place: Place, z: slice, y: slice, x: slice) -> Hu:
        for _ in range(2):
            blocks = self._blocks
            if place not in blocks:
                break
            try:
                return blocks[place](z, y, x)
            except ReadError as error:
                self._renew(blocks, error)
        kind, number = place
        return self._derived(kind)[number].read_block(z, y, x)

    def _renew(self, failed: Mapping[Place, BlockReader], error: ReadError) -> None:
        """Make the levels anew, unless another thread just did."""
        with self._lock:
            if self._blocks is failed:
                _log.warning("a kept pyramid is broken or gone: %s", error.message)
                if self._store is not None:
                    with suppress(OSError):  # then it is held in memory
                        self._store.discard(self._key)
                self.fill()

    def _find(self, store: PyramidStore) -> bool:
        """Open what is kept; return whether it is there and whole as far as can be seen."""
        folder = store.find(self._key)
        if folder is None:
            return False
        try:
            self._open(folder)
        except ReadError as error:
            _log.warning("removed a broken pyramid from the cache: %s", error.message)
            store.discard(self._key)
            return False
        return True

    def _make(self, store: PyramidStore, progress: Progress | None) -> None:
        """Store the levels in one pass; they may be evicted as soon as they are there."""
        with store.draft(self._key) as draft:
            fill_group(
                draft,
                self._source.passing,
                self._form,
                progress=progress,
                slab_bytes=self._slab_bytes,
            )
            self._check_unchanged()
        self._blocks = {}
        self._find(store)

    def _hold(self, progress: Progress | None) -> None:
        """Hold the coarse levels in memory, made in one pass."""
        first = first_held(self._form.levels, self._source.volume.affine_lps)
        held: dict[Place, Any] = {}

        def write(dtype: np.dtype[Any]) -> None:
            targets: list[dict[Kind, Target]] = [{} for _ in self._form.levels]
            for kind, number in self._form.arrays():
                if number >= first:
                    held[kind, number] = np.empty(self._form.levels[number].shape, dtype)
                    targets[number][kind] = held[kind, number]
            pour_volume(
                self._source.passing,
                self._form.levels,
                targets,
                dtype,
                progress=progress,
                slab_bytes=self._slab_bytes,
            )

        self._is_whole = in_exact_type(write) == WHOLE
        self._blocks = {place: partial(_read_held, array) for place, array in held.items()}

    def _open(self, folder: Path) -> None:
        """Open the arrays of a folder.

        Raises:
            ReadError: If they are not those of this volume.
        """
        content = read_json(folder / "zarr.json")
        expected = group_attributes(self._source.volume.affine_lps, self._form)
        if not isinstance(content, dict) or content.get("attributes") != expected:
            msg = f"{folder.name}: the attributes are not those of the volume"
            raise ReadError(msg, reason="bad_value", hint="it is made anew")
        derived = self._derived("mean")
        opened = {
            (kind, number): open_level(
                folder / array_path(kind, number), derived[number].shape, derived[number].affine_lps
            )
            for kind, number in self._form.arrays()
        }
        types = {dtype for _, dtype in opened.values()}
        if len(types) > 1:
            msg = f"{folder.name}: levels of {len(types)} types of voxels"
            raise ReadError(msg, reason="bad_value", hint="it is made anew")
        self._is_whole = types == {WHOLE}
        self._blocks = {place: volume.read_block for place, (volume, _) in opened.items()}

    def _derived(self, kind: Kind) -> Sequence[Volume]:
        return derived_levels(
            self._source.volume, kind, is_rounded=self._is_whole and kind == "mean"
        )

    def _check_unchanged(self) -> None:
        if _key_of(self._source) != self._key:
            name = self._source.files[0].name
            msg = f"{name}: it, or a file beside it, was changed while the volume was read"
            raise ReadError(msg, reason="unreadable", hint="start again when it is complete")


def _form_of(volume: Volume) -> GroupForm:
    levels = plan_levels(volume.shape, volume.affine_lps)
    first: dict[Kind, int] = {"mean": 1 if volume.is_plain else 0, "max": 1}
    stored = {kind: number for kind, number in first.items() if number < len(levels)}
    return GroupForm(levels, stored, codec=FAST)


def _key_of(source: Source) -> str:
    scheme = f"pyramid {PYRAMID_VERSION} of medvit {medvit.__version__}"
    try:
        return chunk_key(*source.files, scheme=scheme)
    except OSError as error:
        raise unreadable(source.files[0], error) from error


def _read_held(array: Any, z: slice, y: slice, x: slice) -> Hu:
    hu: Hu = array[z, y, x].astype(np.float32)
    return hu
