"""The two ways in: a CT case becomes a volume, an image file becomes pixels."""

from __future__ import annotations

from pathlib import Path

from medvit.errors import InputError, ReadError
from medvit.io.case import Case
from medvit.io.dicom.series import open_dicom, open_plan, plan_of
from medvit.io.discover import discover
from medvit.io.images.raster import RasterImage, decode_image
from medvit.io.planes import CACHE_BYTES
from medvit.io.scratch import UNTIL_EXIT, Scratch
from medvit.io.source import Source
from medvit.io.triage import triage
from medvit.io.volumes.formats import is_volume_file, open_volume_file, open_volume_source
from medvit.volume.volume import Volume

PASSING_BYTES = 8 * 1024 * 1024
"""Room for decoded planes in a pass: a straightened slice is made of two."""


def open_volume(source: Path | str | Case, *, scratch: Scratch = UNTIL_EXIT) -> Volume:
    """Open a CT series or volume for reading box by box.

    Args:
        source: A case, a volume file, or a folder that holds one readable volume.
        scratch: Where to keep what is decoded or unpacked, so that it is done once.

    Raises:
        InputError: If the path does not exist.
        ReadError: With the reason, if there is no volume that can be trusted, or more
            than one.
    """
    files = _files_of(source, scratch)
    if is_volume_file(files[0]):
        return open_volume_file(files[0], cache=scratch.chunks)
    return open_dicom(files, cache=scratch.chunks)


def open_source(
    source: Path | str | Case, *, scratch: Scratch = UNTIL_EXIT, kept_bytes: int = CACHE_BYTES
) -> Source:
    """Open a CT series or volume for boxes, and for one pass over all of it.

    Args:
        source: As in `open_volume`.
        scratch: Where to keep what is decoded for boxes; of a pass nothing is kept.
        kept_bytes: Most bytes of decoded DICOM planes that are kept in memory for boxes.

    Raises:
        InputError: As `open_volume`.
        ReadError: As `open_volume`, but for what only voxels can tell of packed files.
    """
    files = _files_of(source, scratch)
    if is_volume_file(files[0]):
        return open_volume_source(files[0], cache=scratch.chunks)
    plan = plan_of(files)
    volume = open_plan(plan, cache=scratch.chunks, cache_bytes=kept_bytes)
    return Source(volume, open_plan(plan, cache_bytes=PASSING_BYTES), files)


def read_image(
    source: Path | str | Case, *, isolated: bool = True, scratch: Scratch = UNTIL_EXIT
) -> RasterImage:
    """Read the pixels of a surface image.

    Args:
        source: A case or an image file.
        isolated: Decode in a process of its own, as is right for files of unknown origin;
            without it training data are read in this process, and by its workers.
        scratch: Where to keep what is unpacked, so that it is done once.

    Raises:
        InputError: If the path does not exist.
        ReadError: With the reason, if the file is no readable image.
    """
    path = source.files[0] if isinstance(source, Case) else Path(source)
    if not isinstance(source, Case) and not path.exists():
        msg = f"{path}: no such file"
        raise InputError(msg, hint="check the path")
    return decode_image(scratch.archives.local(path), isolated=isolated)


def _files_of(source: Path | str | Case, scratch: Scratch) -> tuple[Path, ...]:
    case = source if isinstance(source, Case) else _only_volume(Path(source), scratch)
    return tuple(map(scratch.archives.local, case.files))


def _only_volume(path: Path, scratch: Scratch) -> Case:
    cases = [case for case in discover(path, archives=scratch.archives).cases if case.kind == "ct"]
    if not cases:
        msg = f"{path.name}: no CT series or volume in it"
        raise ReadError(msg, reason="missing_data", hint="give the folder of one series")
    if len(cases) == 1:
        return cases[0]
    readable = [case for case in cases if triage(case, scratch=scratch).verdict != "refuse"]
    if len(readable) == 1:
        return readable[0]
    msg = f"{path.name}: {len(cases)} CT cases in it, {len(readable)} of them readable"
    raise ReadError(msg, reason="mixed_series", hint="give the folder or file of one, or its case")
