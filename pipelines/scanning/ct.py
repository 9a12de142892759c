"""One CT series: pyramid -> search within its memory -> findings and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from medvit.findings.finding import Finding, finding_id
from medvit.findings.nodule import NoduleDetail
from medvit.inference.nodules import (
    COARSE_MM,
    Nodule,
    NoduleScan,
    NoduleSettings,
    Watch,
    detect_nodules,
)
from medvit.inference.tile_journal import TileJournal
from medvit.inference.tile_search import SearchMeans
from medvit.io.case import Case, Reason
from medvit.io.pyramids import open_pyramid
from medvit.io.readers import open_source
from medvit.io.verdict import Triage
from medvit.metrics.calibration import PlattScale
from medvit.models.weights import ModelCard
from medvit.report.thumbnails import nodule_thumbnail
from medvit.tiles.budget import MemoryPlan
from medvit.volume.lungs import find_lungs
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import Hu, Volume
from pipelines.scanning.budget import plan_search
from pipelines.scanning.detectors import Detector
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.limits import Limits, partial_reason
from pipelines.scanning.nodule_details import NoduleObserver
from pipelines.scanning.outcome import Outcome
from pipelines.scanning.workbench import CaseWatch, Workbench

MOST_PICTURES = 24
"""Findings of a CT case with pictures, at which the network looks again: the most probable."""

PYRAMID_SHARE = 0.1
"""Of a case's progress, for the pass that makes its pyramid."""


def examine_ct(
    case: Case, judged: Triage, detector: Detector, bench: Workbench, *, key: str, watch: CaseWatch
) -> Outcome:
    """Return what a CT series holds.

    Args:
        key: Text that names all that determines the result.

    Raises:
        ReadError: If its slices cannot be read.
        ModelError: If the model answers with numbers that are not finite.
        BudgetError: If it does not fit into the memory there is.
    """
    settings = search_settings(detector.card, bench.limits)
    with blamed_on(case.source):
        source = open_source(case, scratch=bench.scratch)
        plan = plan_search(source.volume, detector, settings, bench.limits, costs=bench.costs)
        pyramid = open_pyramid(
            source,
            scratch=bench.scratch,
            slab_bytes=plan.pyramid_slab_bytes,
            progress=lambda done, total: watch.progress(PYRAMID_SHARE * done / total),
        )
    pyramid = _blaming(pyramid, case.source)
    lungs = find_lungs(pyramid.level_for(COARSE_MM))
    with TileJournal(bench.tiles / f"{case.case_id}.tiles", key=key) as journal:
        found = detect_nodules(
            pyramid,
            detector.module,
            settings=settings,
            means=_means(plan, bench),
            journal=journal,
            lungs=lungs,
            watch=_watch(watch, detector.scale),
        )
        if not found.is_partial:
            journal.remove()
    origins = source.volume.origins
    observer = NoduleObserver(pyramid, lungs, origins, detector, settings.spacing_mm)
    return Outcome(
        judged.verdict,
        _reasons(case, judged.reasons, found),
        predicted_peak_mb=plan.predicted_peak_mb,
        is_partial=found.is_partial,
        **_told(case, found.nodules, observer),
    )


class _Told(TypedDict):
    """The part of an outcome that is told of nodules."""

    findings: tuple[Finding, ...]
    details: dict[str, NoduleDetail]
    pictures: dict[str, str]


def _told(case: Case, nodules: Sequence[Nodule], observer: NoduleObserver) -> _Told:
    """Return findings, details and pictures of nodules that come best first."""
    findings, details, pictures = [], {}, {}
    for number, nodule in enumerate(nodules):
        plain = _finding(case, nodule, observer.detector)
        is_shown = number < MOST_PICTURES
        detail = observer.observe(nodule, plain.finding_id, looks_again=is_shown)
        finding = replace(plain, diameter_mm=detail.diameter_mm)
        findings.append(finding)
        details[finding.finding_id] = detail
        if is_shown:
            pictures[finding.finding_id] = nodule_thumbnail(observer.pyramid.levels[0], finding)
    return {"findings": tuple(findings), "details": details, "pictures": pictures}


def search_settings(card: ModelCard, limits: Limits) -> NoduleSettings:
    """Return how the model wants to be used; the usual where its card does not say."""
    usual = NoduleSettings()
    return NoduleSettings(
        spacing_mm=float(card.preprocessing.get("spacing_mm", usual.spacing_mm)),
        min_probability=card.thresholds.get("probability", usual.min_probability),
        effort=limits.effort,
        views=limits.views,
    )


def _means(plan: MemoryPlan, bench: Workbench) -> SearchMeans:
    return SearchMeans(
        readers=plan.readers,
        read_ahead=plan.read_ahead,
        tile_batch=plan.tile_batch,
        blend_bytes=plan.blend_slab_bytes,
        is_time_up=bench.limits.is_time_up,
    )


def _watch(watch: CaseWatch, scale: PlattScale) -> Watch:
    """Return who is told of the search, as the rest of a case after its pyramid."""

    def candidates(nodules: Sequence[Nodule]) -> None:
        told = [replace(each, probability=scale.apply(each.probability)) for each in nodules]
        watch.candidates(told)

    def progress(share: float) -> None:
        watch.progress(PYRAMID_SHARE + (1 - PYRAMID_SHARE) * share)

    return Watch(progress, candidates)


def _reasons(case: Case, judged: tuple[Reason, ...], found: NoduleScan) -> tuple[Reason, ...]:
    """Return what triage said, with what the search has to add."""
    added = []
    if found.reason:
        added.append(Reason(found.reason, f"{case.source}: {found.message}"))
    if found.is_partial:
        added.append(partial_reason(case, seen=found.tiles, planned=found.tiles_planned))
    return (*(each for each in judged if each.code != "ok"), *added) if added else judged


def _finding(case: Case, nodule: Nodule, detector: Detector) -> Finding:
    x_mm, y_mm, z_mm = nodule.centre_lps_mm
    index_z, index_y, index_x = nodule.index_zyx
    model = detector.version.reference
    return Finding(
        case_id=case.case_id,
        kind="ct",
        source=case.source,
        series_uid=case.series_uid,
        finding_id=finding_id(case.case_id, model, index_z, index_y, index_x),
        label="nodule",
        probability=detector.scale.apply(nodule.probability),
        x_mm=x_mm,
        y_mm=y_mm,
        z_mm=z_mm,
        diameter_mm=nodule.diameter_mm,
        index_z=index_z,
        index_y=index_y,
        index_x=index_x,
        model=model,
    )


def _blaming(pyramid: Pyramid, source: str) -> Pyramid:
    """Return a pyramid whose lazy reads name the file's faults as such."""

    def blaming(volume: Volume) -> Volume:
        def read_block(z: slice, y: slice, x: slice) -> Hu:
            with blamed_on(source):
                return volume.read_block(z, y, x)

        return replace(volume, read_block=read_block)

    levels, lows, highs = (
        tuple(map(blaming, part)) for part in (pyramid.levels, pyramid.lows, pyramid.highs)
    )
    return Pyramid(levels, lows, highs)
