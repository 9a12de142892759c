"""The card of a nodule: three views, and what is told of it in words."""

from __future__ import annotations

from medvit.findings.finding import Finding
from medvit.findings.nodule import NoduleDetail
from medvit.report.markup import Html, tag
from medvit.report.words import NONE, probability_bar

TEXTURES = {
    "solid": "solid",
    "part_solid": "part-solid",
    "ground_glass": "ground-glass",
    "": "not told",
}
DOUBTS = {
    "faint": "hardly denser than the lung around it",
    "no_lung": "no lung around it",
    "no_edge": "runs into a vessel or the wall",
    "ragged": "its outline is ragged",
    "moved": "something else lies nearer",
    "disagrees": "far from the network's estimate",
}


def nodule_card(
    number: int, finding: Finding, picture: str, detail: NoduleDetail | None = None
) -> Html:
    """Return the card of a finding.

    Args:
        number: Of the finding in its case, from 1.
        picture: Data URI of its views.
        detail: What else is told of it, if anything.
    """
    alt = f"Finding {number}: axial, coronal and sagittal view"
    facts = [("Diameter", diameter_text(finding, detail))]
    if detail is not None:
        facts += _told(detail)
    facts += [("Slice", slice_text(finding, detail)), ("LPS mm", place_text(finding))]
    return tag(
        "figure",
        tag("img", src=picture, alt=alt),
        tag(
            "figcaption",
            tag("p", tag("b", f"{number}. {finding.label}"), probability_bar(finding.probability)),
            tag("dl", *(tag("div", tag("dt", n), tag("dd", v)) for n, v in facts)),
            tag("code", finding.finding_id, class_="id"),
        ),
        class_="card",
    )


def diameter_text(finding: Finding, detail: NoduleDetail | None) -> str:
    """Return the diameter, where it comes from, and what speaks against the other one."""
    if finding.diameter_mm is None:
        return NONE
    shown = f"{finding.diameter_mm:.1f} mm"
    if detail is None:
        return shown
    if detail.diameter_from == "measured":
        return f"{shown}, measured (network {detail.network_mm:.1f} mm)"
    return f"{shown}, network's estimate ({DOUBTS.get(detail.doubt, detail.doubt)})"


def slice_text(finding: Finding, detail: NoduleDetail | None) -> str:
    """Return the slice by position, and as the DICOM series counts it."""
    if finding.index_z is None:
        return NONE
    shown = str(finding.index_z + 1)
    if detail is None or detail.instance_number is None:
        return shown
    return f"{shown} (DICOM instance {detail.instance_number})"


def place_text(finding: Finding) -> str:
    """Return the centre in LPS mm."""
    place_mm = (finding.x_mm, finding.y_mm, finding.z_mm)
    return ", ".join(NONE if value is None else f"{value:.1f}" for value in place_mm)


def _told(detail: NoduleDetail) -> list[tuple[str, str]]:
    made_of = TEXTURES[detail.texture] + (", calcified" if detail.calcified else "")
    facts = [("Texture", f"{made_of} ({detail.median_hu:.0f} HU)" if detail.texture else made_of)]
    lung = f"{detail.side} lung" if detail.side else ""
    third = f"{detail.third} third" if detail.third else ""
    where = ", ".join(filter(None, (lung, third)))
    facts.append(("Place", where or "not told"))
    if detail.pleura_mm is not None:
        facts.append(("To pleura", _pleura_text(detail.pleura_mm)))
    if detail.score_spread is not None:
        facts.append(("Spread of score", f"{detail.score_spread:.2f}"))
    return facts


def _pleura_text(pleura_mm: float) -> str:
    return "touches" if pleura_mm < 0.5 else f"{pleura_mm:.1f} mm"
