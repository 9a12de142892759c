"""Volume files: which format a name means, and that format's two functions."""

from __future__ import annotations

from pathlib import Path

from medvit.io.nifti import judge_nifti, open_nifti
from medvit.io.sniff import is_nifti_name
from medvit.io.verdict import Triage, readable
from medvit.volume.volume import Volume


def is_volume_file(path: Path) -> bool:
    """Return whether a name is that of a volume in one file (or one folder)."""
    return is_nifti_name(path)


def judge_volume_file(path: Path) -> Triage:
    """Judge a volume file by its header and a few planes.

    Raises:
        ReadError: With the reason, if it cannot be trusted.
    """
    grid = judge_nifti(path)
    return readable(grid.shape, grid.affine_lps)


def open_volume_file(path: Path) -> Volume:
    """Open a volume file for reading box by box.

    Raises:
        ReadError: With the reason, if it cannot be trusted.
    """
    return open_nifti(judge_nifti(path))
