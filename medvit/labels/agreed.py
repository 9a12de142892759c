"""From what is settled of a scan to the nodules that its readers agree on."""

from __future__ import annotations

from medvit.findings.agreed import AgreedNodule
from medvit.labels.cases import Mark, SettledCase, is_nodule
from medvit.labels.opinions import Geometry, Proposal, ReviewedCase
from medvit.labels.places import SPHERE


def agreed_nodules(reviewed: ReviewedCase, settled: SettledCase) -> tuple[AgreedNodule, ...]:
    """Return the marks that are nodules and have a place, from the feet to the head.

    Args:
        reviewed: A CT.
        settled: The same case, settled.
    """
    proposals = {each.finding_id: each for each in reviewed.proposals}
    nodules = [
        _agreed(mark, mark.geometry, proposals[mark.finding_id], settled)
        for mark in settled.marks
        if mark.standing == "is" and mark.geometry is not None
    ]
    return tuple(sorted(nodules, key=lambda each: (each.centre_lps_mm[::-1], each.finding_id)))


def _agreed(mark: Mark, place: Geometry, proposal: Proposal, settled: SettledCase) -> AgreedNodule:
    said = [each.answer for each in settled.sources if each.finding_id == mark.finding_id]
    x_mm, y_mm, z_mm, diameter_mm = (float(place[name]) for name in SPHERE)
    return AgreedNodule(
        finding_id=mark.finding_id,
        centre_lps_mm=(x_mm, y_mm, z_mm),
        diameter_mm=diameter_mm,
        confirmed_by=sum(map(is_nodule, said)),
        asked=len(said),
        measured_by=proposal.model if place == proposal.geometry else "",
    )
