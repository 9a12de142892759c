"""Which scans below a folder can be trained on, and why the others cannot."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medvit import atomic
from medvit.errors import ConfigError, ReadError

if TYPE_CHECKING:
    from medvit.data.foreground import Foreground
    from medvit.data.patches import OpenCases
    from medvit.io.case import Case
    from medvit.io.scratch import Scratch

CASES_FILE = "cases.csv"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unused:
    """A scan that is left out: its source, a reason code of the contract, and a sentence."""

    source: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class UsableScans:
    """The scans to train on, each with its foreground, and those left out."""

    cases: OpenCases
    foregrounds: tuple[Foreground, ...]
    unused: tuple[Unused, ...]


def find_usable_scans(root: Path, *, least_mm: float, scratch: Scratch) -> UsableScans:
    """Judge every CT below a folder, and find the foreground of those that can be read.

    Each scan is read once from end to end here, so that what cannot be read is known now.

    Args:
        least_mm: A scan that is thinner along an axis is left out.

    Raises:
        ConfigError: If there is no such folder, or no scan in it can be used.
    """
    from medvit.data.foreground import COARSE_MM, find_foreground
    from medvit.data.patches import OpenCases
    from medvit.io.discover import discover

    if not root.is_dir():
        msg = f"data.root={root}: no such folder"
        raise ConfigError(msg, hint="set data.root=FOLDER, a folder of CT scans")
    found = [case for case in discover(root, archives=scratch.archives).cases if case.kind == "ct"]
    used: list[Case] = []
    foregrounds: list[Foreground] = []
    unused: list[Unused] = []
    for case in found:
        fault = _fault_of(case, least_mm=least_mm, scratch=scratch)
        if fault is None:
            try:
                volume = OpenCases([case], scratch=scratch).volume(0, COARSE_MM)
                foregrounds.append(find_foreground(volume))
                used.append(case)
            except ReadError as error:
                fault = Unused(case.source, error.reason, error.message)
        if fault is not None:
            unused.append(fault)
    if not used:
        msg = f"data.root={root}: none of {len(found)} CT cases can be trained on"
        first = f"the first one: {unused[0].message}" if unused else "put CT series below it"
        raise ConfigError(msg, hint=first)
    return UsableScans(OpenCases(used, scratch=scratch), tuple(foregrounds), tuple(unused))


def write_cases(folder: Path, scans: UsableScans) -> None:
    """Write `source,used,reason,message` of every scan into a run folder, and say how many."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["source", "used", "reason", "message"])
    rows.writerows([case.source, "yes", "", ""] for case in scans.cases.cases)
    rows.writerows([one.source, "no", one.reason, one.message] for one in scans.unused)
    atomic.write_text(folder / CASES_FILE, text.getvalue())
    if scans.unused:
        total = len(scans.cases) + len(scans.unused)
        _log.warning(
            "%d of %d scans are left out; %s says why", len(scans.unused), total, CASES_FILE
        )


def _fault_of(case: Case, *, least_mm: float, scratch: Scratch) -> Unused | None:
    """Return why the headers of a case rule it out, None if they do not."""
    from medvit.io.triage import triage

    seen = triage(case, scratch=scratch)
    if seen.verdict == "refuse" or seen.shape is None or seen.spacing_mm is None:
        return Unused(case.source, seen.reasons[0].code, seen.reasons[0].message)
    thinnest_mm = min(n * mm for n, mm in zip(seen.shape, seen.spacing_mm, strict=True))
    if thinnest_mm < least_mm:
        message = f"{thinnest_mm:.0f} mm along its shortest axis, {least_mm:.0f} mm are needed"
        return Unused(case.source, "too_small", message)
    return None
