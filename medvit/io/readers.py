"""The two ways in: a CT case becomes a volume, an image file becomes pixels."""

from __future__ import annotations

from pathlib import Path

from medvit.errors import ReadError
from medvit.io.case import Case
from medvit.io.dicom import open_stack
from medvit.io.dicom_geometry import judge_stack, stack_slices
from medvit.io.dicom_header import read_header
from medvit.volume.volume import Volume


def open_volume(source: Path | str | Case) -> Volume:
    """Open a CT series or volume for reading box by box."""
    files = source.files if isinstance(source, Case) else sorted(Path(source).glob("*"))
    stack = stack_slices([read_header(path) for path in files])
    for reason in judge_stack(stack):
        raise ReadError(reason.message, reason=reason.code)
    return open_stack(stack)
