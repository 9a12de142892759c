"""Accept, repair or refuse: what a case is worth before any model sees it."""

from __future__ import annotations

from medvit.errors import ReadError
from medvit.io.case import Case
from medvit.io.dicom import judge_dicom
from medvit.io.formats import is_volume_file, judge_volume_file
from medvit.io.os_errors import unreadable
from medvit.io.raster import inspect_image
from medvit.io.verdict import Triage, readable, refused


def triage(case: Case) -> Triage:
    """Judge a case by its headers; never raises for what a file holds."""
    try:
        if case.kind == "image":
            look = inspect_image(case.files[0])
            return readable((1, look.height, look.width))
        if is_volume_file(case.files[0]):
            return judge_volume_file(case.files[0])
        return judge_dicom(case.files)
    except ReadError as error:
        return refused(error)
    except OSError as error:
        return refused(unreadable(case.files[0], error))
