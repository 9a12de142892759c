"""What a scan works on: one regular CT series or one image file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["ct", "image"]
Verdict = Literal["accept", "repair", "refuse", "fail"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a case got its verdict.

    Attributes:
        code: A reason code of the contract, such as `missing_slices`.
        message: The rule, the value found, the file, and the way out.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to be scanned, found without reading pixels.

    Attributes:
        case_id: Stable name; depends on `source` and the content alone.
        kind: `ct` for a volume, `image` for a surface image.
        source: POSIX path relative to `root`: the folder of a series, or a file.
        root: The folder that was scanned, absolute.
        files: The files that hold the case, absolute.
        series_uid: DICOM SeriesInstanceUID; empty when there is none.
    """

    case_id: str
    kind: Kind
    source: str
    root: Path
    files: tuple[Path, ...]
    series_uid: str = ""
