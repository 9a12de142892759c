"""What medvit makes of a folder: triage first, then every voxel of what is trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medvit.errors import ReadError
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.readers import open_volume
from medvit.io.triage import triage
from tests.faults.truth import Answer


def medvit_answers(folder: Path) -> list[Answer]:
    """Return medvit's answer to every case in a folder."""
    return [_answer(case) for case in discover(folder).cases]


def _answer(case: Case) -> Answer:
    judged = triage(case)
    codes = tuple(reason.code for reason in judged.reasons)
    if judged.verdict == "refuse":
        return Answer(codes)
    try:
        volume = open_volume(case)
        hu = volume.read_all()
    except ReadError as error:
        return Answer((error.reason,), is_late=True)
    if judged.affine_lps is None or judged.shape != volume.shape or hu.shape != volume.shape:
        msg = f"{case.source}: triage says {judged.shape}, the reader {volume.shape}, {hu.shape}"
        raise AssertionError(msg)
    np.testing.assert_allclose(judged.affine_lps, volume.affine_lps, atol=1e-9)
    return Answer(codes, hu, volume.affine_lps)
