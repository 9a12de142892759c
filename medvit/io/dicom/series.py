"""A series of DICOM slices: judged, and opened as a volume that decodes what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from medvit.errors import ReadError
from medvit.io.chunk_cache import ChunkCache
from medvit.io.dicom.blocks import block_reader, is_plain
from medvit.io.dicom.header import SliceHeader, read_headers
from medvit.io.dicom.repair import Plan, plan_series
from medvit.io.planes import CACHE_BYTES
from medvit.io.verdict import Triage, readable
from medvit.volume.straight import read_straight
from medvit.volume.volume import SliceOrigin, Volume


def judge_dicom(files: Sequence[Path]) -> Triage:
    """Judge the files of one series together.

    Raises:
        ReadError: If one file cannot be opened or is not DICOM.
    """
    plan = plan_series(read_series(files))
    if not isinstance(plan, Plan):
        return Triage("refuse", plan)
    return readable(
        plan.shape,
        plan.affine_lps,
        repairs=plan.repairs,
        remarks=plan.remarks,
        repair=plan.repair,
    )


def open_dicom(files: Sequence[Path], *, cache: ChunkCache | None = None) -> Volume:
    """Open the files of one series as a volume, repaired as `judge_dicom` says.

    Args:
        files: Of one series.
        cache: Where decoded planes of compressed slices are kept; None keeps them in
            memory alone.

    Raises:
        ReadError: With the reason, if the series cannot be trusted.
    """
    return open_plan(plan_of(files), cache=cache)


def plan_of(files: Sequence[Path]) -> Plan:
    """Return how the files of one series become a volume.

    Raises:
        ReadError: With the reason, if the series cannot be trusted.
    """
    plan = plan_series(read_series(files))
    if not isinstance(plan, Plan):
        raise ReadError(plan[0].message, reason=plan[0].code)
    return plan


def read_series(files: Sequence[Path]) -> list[SliceHeader]:
    """Return the headers of all slices in the files of a series.

    Raises:
        ReadError: If one file cannot be opened or is not DICOM.
    """
    return [header for path in files for header in read_headers(path)]


def open_plan(
    plan: Plan, *, cache: ChunkCache | None = None, cache_bytes: int = CACHE_BYTES
) -> Volume:
    """Return the volume that a plan describes; only what a box needs is read.

    Args:
        plan: From `plan_series`.
        cache: As in `open_dicom`.
        cache_bytes: Most bytes of decoded planes that are kept in memory.
    """
    read_block = block_reader(plan.stack.headers, cache=cache, cache_bytes=cache_bytes)
    if plan.straight is not None:
        read_block = partial(read_straight, plan.straight, read_block)
    origins = tuple(_origin_of(plan.stack.headers[number]) for number in plan.sources)
    plain = plan.straight is None and all(map(is_plain, plan.stack.headers))
    return Volume(plan.shape, plan.affine_lps, read_block, origins, plain)


def _origin_of(header: SliceHeader) -> SliceOrigin:
    return SliceOrigin(header.path, header.frame, header.sop_uid, header.instance_number)
