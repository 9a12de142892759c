"""Accept, repair or refuse: what a case is worth before any model sees it."""

from __future__ import annotations

from pathlib import Path

from medvit.errors import ReadError
from medvit.io.archives import is_archive_name
from medvit.io.case import Case
from medvit.io.dicom.media_directory import is_media_directory
from medvit.io.dicom.series import judge_dicom
from medvit.io.images.raster import inspect_image
from medvit.io.os_errors import unreadable
from medvit.io.scratch import UNTIL_EXIT, Scratch
from medvit.io.verdict import Triage, readable, refused
from medvit.io.volumes.formats import is_volume_file, judge_volume_file


def triage(case: Case, *, scratch: Scratch = UNTIL_EXIT) -> Triage:
    """Judge a case by its headers; never raises for what a file holds.

    Args:
        case: As `discover` found it.
        scratch: Where to keep what is unpacked on the way, so that it is done once.
    """
    try:
        files = tuple(map(scratch.archives.local, case.files))
        return _judge(case, files, scratch)
    except ReadError as error:
        return refused(error)
    except OSError as error:
        return refused(unreadable(case.files[0], error))


def _judge(case: Case, files: tuple[Path, ...], scratch: Scratch) -> Triage:
    if case.kind == "image":
        look = inspect_image(files[0])
        return readable((1, look.height, look.width))
    if is_volume_file(files[0]):
        return judge_volume_file(files[0], cache=scratch.chunks)
    if is_archive_name(files[0]):
        scratch.archives.unpack(files[0])
    if is_media_directory(files[0]):
        return refused(_nothing_listed_is_there(files[0]))
    return judge_dicom(files)


def _nothing_listed_is_there(path: Path) -> ReadError:
    msg = f"{path.name}: none of the files that this table of contents lists is there"
    return ReadError(msg, reason="missing_data", hint="copy the whole medium")
