"""Two nodule detectors on frozen scans: FROC, nodules by size, and those that flipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medvit.errors import InputError
from medvit.findings.finding import Finding
from medvit.metrics.froc import (
    DIAMETER_EDGES_MM,
    FP_PER_SCAN,
    Annotation,
    Mark,
    ScanMatches,
    froc_of,
    match_scans,
    sensitivity_at,
)
from medvit.metrics.noninferiority import Bools, Claim, Evidence, share_claims
from medvit.metrics.paired import Difference, paired_difference
from medvit.models.card import read_card
from medvit.report.gate_report import Figure, Flip, GroupRow
from pipelines.gating.answers import Answers
from pipelines.gating.weighed import MOST_FLIPS, MOST_GROUPS, Pair, Weighed

if TYPE_CHECKING:
    from medvit.io.scratch import Scratch
    from pipelines.gating.frozen import FrozenScans
    from pipelines.gating.settings import GateSettings

PRIMARY = "CPM"
FOUND = "nodules found at the operating point"
USUAL_THRESHOLD = 0.5


def weigh_scans(
    pair: Pair,
    answers: tuple[Answers, Answers],
    frozen: FrozenScans,
    *,
    settings: GateSettings,
) -> Weighed:
    """Return what frozen scans say of two detectors.

    The primary figure is the CPM, with patients drawn whole; parts are the nodules found at
    each model's own operating point, all of them and by size.

    Args:
        pair: Champion and challenger.
        answers: Of both, in this order.
        frozen: The scans.
        settings: Margins and policies.

    Raises:
        InputError: If no scan holds a nodule.
    """
    matches = [_matches(each, frozen) for each in answers]
    if not any(scan.nodules for scan in matches[0]):
        msg = f"{frozen.name}: {len(frozen.cases)} scans hold no nodule to compare models on"
        raise InputError(msg, hint="add scans with annotated nodules")
    cuts = [read_card(each.folder).thresholds.get("probability", USUAL_THRESHOLD) for each in pair]
    found = [_found(each, cut) for each, cut in zip(matches, cuts, strict=True)]
    counts = [scan.nodules for scan in matches[0]]
    patients = np.unique(frozen.groups, return_inverse=True)[1]
    parts = _parts(np.concatenate([scan.places for scan in matches[0]])[:, 3])
    claims = share_claims(
        found[1],
        found[0],
        np.repeat(patients, counts),
        parts=parts,
        margins=dict.fromkeys(parts, settings.class_margin),
        draws=settings.draws,
    )
    primary = _primary(matches, patients, claims[0], settings=settings)
    return Weighed(
        Evidence(primary, claims),
        figures=_figures(matches, found, cuts),
        groups=_groups(frozen, found, counts),
        flips=_flips(frozen, matches[0], found, Path(settings.folder)),
        cases=sum(counts),
    )


def _matches(answers: Answers, frozen: FrozenScans) -> list[ScanMatches]:
    names = [scan.name for scan in frozen.cases]
    said = zip(names, answers.answers, strict=True)
    marks = [Mark(name, *mark) for name, found in said for mark in found]
    nodules = [Annotation(n.name, *row) for n in frozen.cases for row in n.nodules.tolist()]
    ignored = [Annotation(n.name, *row) for n in frozen.cases for row in n.ignored.tolist()]
    return match_scans(marks, nodules, excluded=ignored, series=names)


def _found(scans: Sequence[ScanMatches], cut: float) -> Bools:
    scores = np.concatenate([scan.scores for scan in scans])
    found: Bools = np.nan_to_num(scores, nan=-1.0) >= cut
    return found


def _parts(diameters_mm: NDArray[np.float64]) -> dict[str, Bools]:
    parts = {FOUND: np.ones(len(diameters_mm), dtype=np.bool_)}
    for low_mm, high_mm in pairwise(DIAMETER_EDGES_MM):
        inside = (diameters_mm >= low_mm) & (diameters_mm < high_mm)
        if inside.any():
            parts[_size(low_mm, high_mm)] = inside
    return parts


def _size(low_mm: float, high_mm: float) -> str:
    if np.isinf(high_mm):
        return f"{low_mm:g} mm and more"
    return f"{low_mm:g} to {high_mm:g} mm"


def _primary(
    matches: Sequence[Sequence[ScanMatches]],
    patients: NDArray[np.intp],
    found: Claim,
    *,
    settings: GateSettings,
) -> Claim:
    """Return the claim on the CPM; cases and flips are those of the nodules."""

    def cpm(scans: Sequence[ScanMatches], chosen: NDArray[np.intp]) -> float:
        drawn = [scans[at] for at in chosen]
        if not any(scan.nodules for scan in drawn):
            return float("nan")
        return float(sensitivity_at(drawn, FP_PER_SCAN).mean())

    count = int(patients.max()) + 1
    difference: Difference | None = None
    if count >= 2:
        difference = paired_difference(
            lambda chosen: cpm(matches[1], chosen),
            lambda chosen: cpm(matches[0], chosen),
            patients,
            rng=np.random.default_rng(settings.seed),
            rounds=settings.rounds,
        )
    enough = found.cases >= settings.least_cases and count >= settings.least_groups
    return replace(
        found,
        name=PRIMARY,
        difference=difference,
        margin=settings.margin,
        enough=enough,
        is_share=False,
    )


def _figures(
    matches: Sequence[Sequence[ScanMatches]], found: Sequence[Bools], cuts: Sequence[float]
) -> tuple[Figure, ...]:
    false = [
        sum(int((scan.false >= cut).sum()) for scan in scans) / len(scans)
        for scans, cut in zip(matches, cuts, strict=True)
    ]
    before, after = (froc_of(scans).sensitivity for scans in matches)
    rates = [
        Figure(f"sensitivity at {rate:g} false marks a scan", before[at], after[at])
        for at, rate in enumerate(FP_PER_SCAN)
    ]
    return (
        Figure("operating point: marks from a score of", cuts[0], cuts[1]),
        Figure("nodules found there", float(found[0].mean()), float(found[1].mean())),
        Figure("false marks a scan there", false[0], false[1], form=".2f"),
        *rates,
    )


def _groups(
    frozen: FrozenScans, found: Sequence[Bools], counts: Sequence[int]
) -> tuple[GroupRow, ...]:
    """Return the scans whose nodules were found otherwise, the worst first."""
    names = np.repeat([scan.name for scan in frozen.cases], counts)
    before, after, cases = Counter(names[found[0]]), Counter(names[found[1]]), Counter(names)
    changed = sorted(
        (name for name in cases if before[name] != after[name]),
        key=lambda name: (after[name] - before[name], name),
    )
    rows = [GroupRow(str(name), cases[name], before[name], after[name]) for name in changed]
    return tuple(rows[:MOST_GROUPS])


def _flips(
    frozen: FrozenScans, scans: Sequence[ScanMatches], found: Sequence[Bools], folder: Path
) -> tuple[Flip, ...]:
    from medvit.io.scratch import Scratch

    owners = np.repeat(np.arange(len(scans)), [scan.nodules for scan in scans])
    places = np.concatenate([scan.places for scan in scans])
    lost = np.flatnonzero(found[0] & ~found[1])[: MOST_FLIPS // 2].tolist()
    gained = np.flatnonzero(found[1] & ~found[0])[: MOST_FLIPS - len(lost)].tolist()
    scratch = Scratch.below(folder / "scratch")
    words = ("missed", "found")
    return tuple(
        Flip(
            case=frozen.cases[owners[at]].name,
            truth=f"nodule of {places[at, 3]:.1f} mm",
            champion=words[int(found[0][at])],
            challenger=words[int(found[1][at])],
            gained=bool(found[1][at]),
            picture=_picture(frozen, int(owners[at]), places[at].tolist(), scratch),
        )
        for at in (*lost, *gained)
    )


def _picture(frozen: FrozenScans, at: int, place: list[float], scratch: Scratch) -> str:
    from medvit.io.readers import open_volume
    from medvit.report.thumbnails import nodule_thumbnail

    scan = frozen.cases[at]
    x_mm, y_mm, z_mm, diameter_mm = place
    nodule = Finding(
        case_id=scan.case.case_id,
        kind="ct",
        source=scan.case.source,
        series_uid=scan.name,
        finding_id="frozen",
        label="nodule",
        probability=1.0,
        x_mm=x_mm,
        y_mm=y_mm,
        z_mm=z_mm,
        diameter_mm=diameter_mm,
    )
    return nodule_thumbnail(open_volume(scan.case, scratch=scratch), nodule)
