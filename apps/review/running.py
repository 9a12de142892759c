"""Scans that are running now, with the candidates they have met so far."""

from __future__ import annotations

import streamlit as st

from apps.review.access import workspace
from pipelines.scanning.live import Candidate, LiveScan, running_scans

EVERY_S = 2
SHOWN = 5


@st.fragment(run_every=EVERY_S)
def show_running() -> None:
    """Draw a line and a bar for each running scan; nothing when none runs."""
    for scan in running_scans(workspace()):
        with st.container(key=f"notice_running_{scan.run}"):
            st.text(head_of(scan))
            st.progress(min(1.0, (scan.number + scan.share) / max(1, scan.cases)))
            if scan.candidates:
                st.text(candidates_of(scan))


def head_of(scan: LiveScan) -> str:
    """Return how far a scan is, in a sentence."""
    name = scan.case_id if scan.source == "." else scan.source
    return (
        f"Scanning {name}: case {scan.number + 1:,} of {scan.cases:,}, {scan.share:.0%} of it done"
    )


def candidates_of(scan: LiveScan) -> str:
    """Return what a scan has met in the case at hand, best first."""
    listed = "; ".join(_candidate(each) for each in scan.candidates[:SHOWN])
    more = scan.count - min(SHOWN, len(scan.candidates))
    return f"Candidates so far: {listed}{f'; and {more} more' if more > 0 else ''}"


def _candidate(each: Candidate) -> str:
    return f"{each.probability:.2f} in slice {each.index_zyx[0]}, {each.diameter_mm:.0f} mm"
