"""The head of a report: counts, how it was made, and what could not be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from medvit.findings.finding import CaseResult
from medvit.report.markup import Html, join, tag
from medvit.report.summary import ReportSummary
from medvit.report.words import counted, duration, memory, pill

WORST_FIRST = ("fail", "refuse", "repair")
MOST_DISTRUSTED = 1000
UNFOLDED = 8
"""Rows that are seen at once; the rest unfolds on a click, and always on paper."""
UNLIKE = tag("span", "unlike", class_="pill pill-unlike")
"""Beside an accepted image that is unlike the training data."""


def header(summary: ReportSummary) -> Html:
    """Return title, source, date and the warning that belongs on every report."""
    when = summary.finished_at.strftime("%d %B %Y, %H:%M %Z").lstrip("0")
    return tag(
        "header",
        tag("p", "medvit", tag("span", "scan report"), class_="brand"),
        tag("h1", ", ".join(summary.sources)),
        tag("p", when, class_="when"),
        tag(
            "p",
            tag("strong", "Research software, not a medical device."),
            " Nothing here is a diagnosis. Findings are candidates for a trained reader to judge.",
            class_="warning",
        ),
    )


def counts(results: Sequence[CaseResult]) -> Html:
    """Return the figures a reader asks for first."""
    verdicts = Counter(result.verdict for result in results)
    found = sum(len(result.findings) for result in results)
    tiles = [
        ("cases", len(results), "all"),
        ("accepted", verdicts["accept"], "accept"),
        ("repaired", verdicts["repair"], "repair"),
        ("refused", verdicts["refuse"], "refuse"),
        ("failed", verdicts["fail"], "fail"),
        ("finding" if found == 1 else "findings", found, "findings"),
    ]
    return tag("section", *(_tile(*tile) for tile in tiles), class_="tiles", aria_label="Counts")


def _tile(name: str, number: int, kind: str) -> Html:
    state = f"tile tile-{kind}" + (" tile-zero" if number == 0 else "")
    return tag("div", tag("b", f"{number:,}"), tag("span", name), class_=state)


def contents(names: Mapping[str, str]) -> Html:
    """Return links to the sections of the report, by id."""
    links = [tag("a", name, href=f"#{anchor}") for anchor, name in names.items()]
    return tag("nav", *links, aria_label="Contents")


def provenance(summary: ReportSummary) -> Html:
    """Return models, versions, time, memory and settings of the run."""
    code = f"medvit {summary.version}" + (
        f", commit {summary.commit[:12]}" if summary.commit else ""
    )
    took = f"{duration(summary.seconds)} on {summary.device}"
    if summary.resumed:
        took += f"; {counted(summary.resumed, 'case')} taken over from an interrupted run"
    no_case = "that is no case" if summary.other_files == 1 else "that are no cases"
    facts = [
        *(_model_fact(model.task, model.reference, model.sha256) for model in summary.models),
        _fact("Software", code),
        _fact("Time", took),
        _fact("Memory", _peak(summary)),
        _fact("Other files", f"{counted(summary.other_files, 'file')} {no_case}"),
        *(_fact("Note", note) for note in summary.notes),
    ]
    return tag(
        "section",
        tag("h2", "How this was made"),
        tag("dl", *facts, class_="facts"),
        _settings(summary),
        id="provenance",
    )


def _peak(summary: ReportSummary) -> str:
    measured = memory(summary.measured_peak_mb)
    if summary.measured_peak_mb is not None:
        measured += " peak"
    if summary.predicted_peak_mb is None:
        return measured
    return f"{measured}, {memory(summary.predicted_peak_mb)} predicted"


def _model_fact(task: str, reference: str, sha256: str) -> Html:
    shown = join(tag("b", reference), tag("code", f"sha256 {sha256}", class_="hash"))
    return _fact(f"{task.capitalize()} model", shown)


def _fact(name: str, value: object) -> Html:
    return tag("div", tag("dt", name), tag("dd", value))


def _settings(summary: ReportSummary) -> Html:
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", tag("code", _shown(value))))
        for name, value in sorted(summary.settings.items())
    ]
    title = tag("summary", f"Settings ({len(rows)})")
    return tag("details", title, tag("table", tag("tbody", *rows), class_="settings"))


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def distrust(results: Sequence[CaseResult]) -> Html:
    """Return every case that was repaired, refused, failed or is unlike the known, and why."""
    doubtful = [each for each in results if each.verdict in WORST_FIRST or each.unlike]
    doubtful.sort(key=_by_doubt)
    title = tag("h2", "What could not be trusted")
    if not doubtful:
        text = "Every case was accepted as it is: nothing was repaired, refused or failed."
        return tag("section", title, tag("p", text, class_="quiet"), id="distrust")
    lead = [text for text, is_told in _leads(doubtful) if is_told]
    rows = [_distrust_row(result) for result in doubtful[:MOST_DISTRUSTED]]
    return tag(
        "section",
        title,
        tag("p", " ".join(lead), class_="quiet"),
        _distrust_table(rows[:UNFOLDED]),
        _folded(rows[UNFOLDED:]),
        shown_of(len(rows), len(doubtful), "case", "cases.csv"),
        id="distrust",
    )


def _leads(doubtful: Sequence[CaseResult]) -> list[tuple[str, bool]]:
    """Return sentences about what is in the table, each with whether it is there."""
    verdicts = {result.verdict for result in doubtful}
    return [
        (
            "Refused and failed cases were not judged by any model.",
            bool(verdicts & {"refuse", "fail"}),
        ),
        ("Repaired ones were judged after the change that is named.", "repair" in verdicts),
        (
            "Images unlike the training data have a label all the same; one known image in "
            "twenty is among them.",
            any(result.unlike for result in doubtful),
        ),
    ]


def _by_doubt(result: CaseResult) -> tuple[int, float, str, str]:
    verdicts = (*WORST_FIRST, "accept")
    strange = -(result.ood or 0.0) if result.verdict == "accept" else 0.0
    return verdicts.index(result.verdict), strange, result.case.source, result.case.series_uid


def _distrust_table(rows: Sequence[Html]) -> Html:
    head = tag("tr", *(tag("th", name, scope="col") for name in ("Case", "Verdict", "Reason")))
    return tag("table", tag("thead", head), tag("tbody", *rows), class_="distrust")


def _folded(rows: Sequence[Html]) -> Html | None:
    if not rows:
        return None
    title = tag("summary", counted(len(rows), "more case"))
    return tag("details", title, _distrust_table(rows))


def shown_of(shown: int, total: int, noun: str, file: str) -> Html | None:
    """Return a line that says how much is left out, or None when nothing is."""
    if shown >= total:
        return None
    text = f"Shown here: {shown:,} of {counted(total, noun)}. All of them are in {file}."
    return tag("p", text, class_="quiet capped")


def _distrust_row(result: CaseResult) -> Html:
    codes = [tag("code", code) for code in result.reason.split(";")]
    is_accepted = result.verdict == "accept"
    why = [tag("p", result.message or "no message"), tag("p", *codes, class_="codes")]
    strange = [tag("p", result.unlike)] if result.unlike else []
    return tag(
        "tr",
        tag("td", place(result)),
        tag("td", UNLIKE if is_accepted else pill(result.verdict)),
        tag("td", *([] if is_accepted else why), *strange),
    )


def place(result: CaseResult) -> Html:
    """Return where a case is: its source, and its series when it has one."""
    series = result.case.series_uid
    source = result.case.source
    return join(
        # A series that lies in the scanned folder itself has the source ".".
        tag("span", result.case.root.name if source == "." else source, class_="source"),
        tag("span", series, class_="uid") if series else None,
    )
