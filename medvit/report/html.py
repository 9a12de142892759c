"""`report.html`: one file that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from medvit.atomic import write_bytes
from medvit.findings.finding import CaseResult
from medvit.findings.nodule import NoduleDetail
from medvit.report.images import images
from medvit.report.markup import Html, join, tag
from medvit.report.overview import contents, counts, distrust, header, provenance
from medvit.report.scans import scans
from medvit.report.summary import ReportSummary
from medvit.report.thumbnails import data_uri

HERE = Path(__file__).resolve().parent
PICTURES_MAX_BYTES = 7_000_000
"""What all pictures of a report may take; a report is to open at once in any browser."""


def write_report(
    path: Path,
    results: Sequence[CaseResult],
    summary: ReportSummary,
    thumbnails: Mapping[str, bytes | str],
    details: Mapping[str, NoduleDetail] | None = None,
) -> None:
    """Write the report of a run; whole or not at all.

    Every text is escaped, and a content policy inside the file forbids anything but its own
    style, script and pictures. Where there is too much to show, the report says how much it
    shows.

    Args:
        results: All cases of the run, in any order.
        thumbnails: PNG or JPEG (bytes, or a data URI) by `finding_id` for CT findings and by
            `case_id` for images; see `medvit.report.thumbnails`. Those that are missing are
            left out.
        details: What is told of nodules beside their findings, by `finding_id`.

    Raises:
        ValueError: If a thumbnail is neither PNG nor JPEG.
        OSError: If the folder is missing, not writable or full.
    """
    write_bytes(path, report(results, summary, thumbnails, details).encode("utf-8"))


def report(
    results: Sequence[CaseResult],
    summary: ReportSummary,
    thumbnails: Mapping[str, bytes | str],
    details: Mapping[str, NoduleDetail] | None = None,
) -> str:
    """Return the HTML of a report; see `write_report`."""
    ordered = sorted(results, key=lambda r: (r.case.source, r.case.series_uid, r.case.case_id))
    pictures = _within_budget(ordered, thumbnails)
    sections = {
        ("provenance", "How this was made"): provenance(summary),
        ("distrust", "What could not be trusted"): distrust(ordered),
        ("scans", "CT scans"): scans(ordered, pictures, details or {}),
        ("images", "Images"): images(ordered, pictures),
    }
    names = {key[0]: key[1] for key, section in sections.items() if section is not None}
    body = tag(
        "main", header(summary), counts(ordered), contents(names), *sections.values(), _footer()
    )
    return f"<!DOCTYPE html>\n{_page(summary, body)}\n"


def _within_budget(
    results: Sequence[CaseResult], thumbnails: Mapping[str, bytes | str]
) -> dict[str, str]:
    """Return the pictures that fit: of each case the most probable, CT before images."""
    chosen: dict[str, str] = {}
    left = PICTURES_MAX_BYTES
    for name in _by_weight(results):
        if name not in thumbnails:
            continue
        uri = data_uri(thumbnails[name])
        if len(uri) > left:
            break
        chosen[name] = uri
        left -= len(uri)
    return chosen


def _by_weight(results: Sequence[CaseResult]) -> list[str]:
    """Return the names of all pictures: first the top finding of every scan, then the second."""
    ranked = [
        (rank, number, finding.finding_id)
        for number, result in enumerate(results)
        if result.case.kind == "ct"
        for rank, finding in enumerate(sorted(result.findings, key=lambda f: -f.probability))
    ]
    whole = [result.case.case_id for result in results if result.case.kind == "image"]
    return [name for _, _, name in sorted(ranked)] + whole


def _page(summary: ReportSummary, body: Html) -> Html:
    style = Html((HERE / "report.css").read_text(encoding="utf-8"))
    script = Html((HERE / "report.js").read_text(encoding="utf-8"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"medvit scan report: {', '.join(summary.sources)}"),
        tag("style", style),
    )
    return tag("html", head, tag("body", body, tag("script", script)), lang="en")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _footer() -> Html:
    lines = (
        "Probabilities are the model's own, calibrated where its card says so, on the data that "
        "its card names; they are not the chance that a patient has a disease or a part is faulty.",
        "The same cases, findings and coordinates are in cases.csv, findings.csv and nodules.csv "
        "beside this file; readers' decisions are in the store.",
        "Research software, not a medical device.",
    )
    return tag("footer", join(*(tag("p", line) for line in lines)))
